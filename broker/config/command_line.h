#pragma once

#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "broker/config/config_file.h"

namespace harrier {

// What harrierd was asked to do.
struct CommandLine {
  enum class Action {
    serve,
    check_config,
    check_data,
    print_config_keys,
    print_default_config,
    print_version,
    print_help,
  };

  Action action = Action::serve;
  std::optional<std::filesystem::path> config_file;  // --config, else HARRIER_CONFIG_FILE
  std::vector<ConfigOverride> overrides;             // --data-dir or HARRIER_DATA_DIR, then --set
  bool accept_data_loss = false;
  std::string help;  // the text of --help
};

// Reads the flags and the environment. The error is one line.
Result<CommandLine, std::string> parse_command_line(int argc, const char* const* argv);

// The data is to be checked, not served.
struct DataCheck {
  LoadedConfig loaded;
};

// All of main() that comes before serving: parses the flags, prints what was asked for to `out` and
// complaints to `err`, loads the configuration. Either the broker is to be started with what is
// returned (whose warnings nobody has printed yet), or its data is to be checked, or the process
// ends with that exit code: 0 done, 1 bad configuration, 64 bad flags, 66 unreadable configuration
// file.
std::variant<LoadedConfig, DataCheck, int> prepare_start(int argc, const char* const* argv,
                                                         std::ostream& out, std::ostream& err);

}  // namespace harrier
