#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace harrier {

// Why a running broker gave no answer.
struct NoAnswer {
  std::string why;  // one line with its mend
  int exit_code;
};

// Sends one line (without newline) to the broker that runs on `data_dir` and waits, as long as it
// takes, for the line that answers it (broker/admin/admin_message.h).
Result<std::string, NoAnswer> ask_broker(const std::string& data_dir, std::string_view line);

}  // namespace harrier
