#pragma once

#include <string_view>

namespace harrier {

// Version of this build, from the project() line of the top CMakeLists.txt.
std::string_view version();

}  // namespace harrier
