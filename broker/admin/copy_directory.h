#pragma once

#include <stop_token>
#include <string>

#include "base/result.h"

namespace harrier {

// Copies the files in `from` and in its directories to `to`, synced. `to` must be empty or not
// there. A directory gets its name when all of it is there. On an error, a stop among them, what
// was made is removed; the error is one line. Blocks.
Result<void, std::string> copy_directory(const std::string& from, const std::string& to,
                                         const std::stop_token& stop);

}  // namespace harrier
