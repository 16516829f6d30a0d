#include "base/log.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "base/log_tap.h"

namespace harrier {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::critical:
      return spdlog::level::critical;
    case LogLevel::none:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

constexpr const char* kPattern = "%Y-%m-%d %H:%M:%S.%e [%l] %v";

std::shared_ptr<spdlog::logger> make_console_logger() {
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  auto logger = std::make_shared<spdlog::logger>("harrier", std::move(sink));
  logger->set_pattern(kPattern);
  return logger;
}

// Replaced once by configure_logging, before any second thread runs.
std::shared_ptr<spdlog::logger>& process_logger() {
  static std::shared_ptr<spdlog::logger> logger = make_console_logger();
  return logger;
}

std::atomic<LogTap*>& process_tap() {
  static std::atomic<LogTap*> tap{nullptr};
  return tap;
}

// Names and texts come from peers: control octets in them must not forge lines.
std::string printable(std::string line) {
  std::size_t at = 0;
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  while ((at = static_cast<std::size_t>(
              std::find_if(line.begin() + static_cast<std::ptrdiff_t>(at), line.end(), is_control) -
              line.begin())) < line.size()) {
    line.replace(at, 1, fmt::format("\\x{:02x}", static_cast<unsigned char>(line[at])));
  }
  return line;
}

}  // namespace

void configure_logging(const LogConfig& config) {
  std::vector<spdlog::sink_ptr> sinks;
  auto console = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  console->set_level(to_spdlog(config.console_level));
  sinks.push_back(std::move(console));
  if (!config.file.empty()) {
    auto file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(std::string(config.file));
    file->set_level(to_spdlog(config.file_level));
    sinks.push_back(std::move(file));
  }
  auto logger = std::make_shared<spdlog::logger>("harrier", sinks.begin(), sinks.end());
  logger->set_level(spdlog::level::debug);
  logger->set_pattern(kPattern);
  logger->flush_on(spdlog::level::info);
  process_logger() = std::move(logger);
}

void set_log_tap(LogTap* tap) {
  // Pairs with the load in write(): what the tap was made of is seen by who calls it.
  process_tap().store(tap, std::memory_order_release);
}

void Logger::write(LogLevel level, fmt::string_view text, fmt::format_args args) const {
  spdlog::logger& logger = *process_logger();
  const auto at = to_spdlog(level);
  if (!logger.should_log(at)) return;
  const std::string line = fmt::format("{}: {}", name_, printable(fmt::vformat(text, args)));
  logger.log(at, line);
  if (LogTap* const tap = process_tap().load(std::memory_order_acquire)) tap->on_line(level, line);
}

}  // namespace harrier
