#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "broker/config/config.h"

namespace harrier {

// A setting from the command line or the environment, which outranks the file.
struct ConfigOverride {
  std::string origin;  // for messages: "--set"
  std::string key;
  std::string value;
};

struct LoadedConfig {
  Config config;
  std::vector<std::string> warnings;  // one line each, for the log
};

// Exit codes of harrierd, those of sysexits.h where one fits.
inline constexpr int kExitBadConfig = 1;  // unknown key or bad value
inline constexpr int kExitUsage = 64;     // EX_USAGE: bad command line
inline constexpr int kExitNoConfig = 66;  // EX_NOINPUT: the configuration file cannot be read

struct ConfigErrors {
  std::vector<std::string> lines;  // every error found, one line each, with its mend
  int exit_code = kExitBadConfig;
};

// The defaults, changed by what `path` says, changed by `overrides` in their order. Without a path
// no file is read. Keys of RabbitMQ that Harrier does not act on are accepted and named in one
// warning.
Result<LoadedConfig, ConfigErrors> load_config(const std::optional<std::filesystem::path>& path,
                                               std::span<const ConfigOverride> overrides);

// The same for the text of a file; `name` is what messages call it.
Result<LoadedConfig, ConfigErrors> parse_config(std::string_view text, std::string_view name,
                                                std::span<const ConfigOverride> overrides);

}  // namespace harrier
