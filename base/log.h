#pragma once

#include <string_view>
#include <utility>

#include <fmt/core.h>

namespace harrier {

enum class LogLevel {
  debug,
  info,
  warning,
  error,
  critical,
  none
};

// One named logger per subsystem ("connection", "queue", "storage", ...). Log edges (open, close,
// declare, refuse, recover), never per message. Thread safe. The arguments are erased before they
// reach the library behind, so that including this header costs little.
class Logger {
 public:
  explicit constexpr Logger(const char* name) : name_(name) {}

  template <class... Args>
  void debug(fmt::format_string<Args...> text, Args&&... args) const {
    write(LogLevel::debug, text, fmt::make_format_args(args...));
  }

  template <class... Args>
  void info(fmt::format_string<Args...> text, Args&&... args) const {
    write(LogLevel::info, text, fmt::make_format_args(args...));
  }

  template <class... Args>
  void warning(fmt::format_string<Args...> text, Args&&... args) const {
    write(LogLevel::warning, text, fmt::make_format_args(args...));
  }

  template <class... Args>
  void error(fmt::format_string<Args...> text, Args&&... args) const {
    write(LogLevel::error, text, fmt::make_format_args(args...));
  }

  template <class... Args>
  void critical(fmt::format_string<Args...> text, Args&&... args) const {
    write(LogLevel::critical, text, fmt::make_format_args(args...));
  }

 private:
  void write(LogLevel level, fmt::string_view text, fmt::format_args args) const;

  const char* name_;
};

struct LogConfig {
  LogLevel console_level = LogLevel::info;  // log.console.level
  LogLevel file_level = LogLevel::info;     // log.file.level
  std::string_view file;                    // log.file, none when empty
};

// Sets up the sinks of the whole process. Before the first call everything goes to stderr at info.
// Throws std::runtime_error when the log file cannot be opened.
void configure_logging(const LogConfig& config);

}  // namespace harrier
