#pragma once

#include <string_view>

#include "base/log.h"

namespace harrier {

// Takes the lines of the log besides its sinks. Called by any thread, several at once; must return
// soon, and be quiet about what it does itself.
class LogTap {
 public:
  virtual ~LogTap() = default;
  // `line` is "subsystem: text" without control octets, valid in the call.
  virtual void on_line(LogLevel level, std::string_view line) = 0;
};

// One for the process; null for none. The one before may still be in a call that began earlier.
void set_log_tap(LogTap* tap);

}  // namespace harrier
