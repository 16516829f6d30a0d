#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace harrier {

// The known key nearest to `name` by edit distance, or none when nothing is near.
std::optional<std::string> nearest_config_key(std::string_view name);

}  // namespace harrier
