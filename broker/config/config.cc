#include "broker/config/config.h"

#include <filesystem>

namespace harrier {

void configure_logging(const LogSettings& settings) {
  std::string path;
  if (!settings.file.empty()) path = (std::filesystem::path(settings.dir) / settings.file).string();
  LogConfig log;
  log.console_level = settings.console ? settings.console_level : LogLevel::none;
  log.file_level = settings.file_level;
  log.file = path;
  configure_logging(log);
}

}  // namespace harrier
