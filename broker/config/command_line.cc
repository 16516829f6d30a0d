#include "broker/config/command_line.h"

#include <ostream>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "broker/config/config_keys.h"
#include "broker/config/version.h"

namespace harrier {
namespace {

using Action = CommandLine::Action;

constexpr const char* kFooter =
    "Settings: --set outranks --data-dir and HARRIER_DATA_DIR, which outrank the file.\n"
    "Exit codes: 0 done, 1 bad configuration, 64 bad flags, 66 unreadable configuration file;\n"
    "of --check-data: 0 sound, 1 damaged, 66 no store to be read, 75 in use by a broker.";

// The flags as given, before they are weighed against each other.
struct Flags {
  std::string config_file;
  std::string data_dir;
  std::vector<std::string> settings;
  bool check_config = false;
  bool check_data = false;
  bool accept_data_loss = false;
  bool config_keys = false;
  bool default_config = false;
  bool version = false;
};

// `flags` must outlive `app`.
void define(CLI::App& app, Flags& flags) {
  app.add_option("-c,--config", flags.config_file,
                 "Configuration file in the form of rabbitmq.conf")
      ->type_name("FILE")
      ->envname("HARRIER_CONFIG_FILE");
  app.add_option("-d,--data-dir", flags.data_dir,
                 "Where messages are kept; short for --set data_dir=DIR")
      ->type_name("DIR")
      ->envname("HARRIER_DATA_DIR");
  app.add_option("--set", flags.settings, "Overrides one key of the configuration; may be repeated")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  app.add_flag("--check-config", flags.check_config, "Checks the configuration and ends");
  app.add_flag("--check-data", flags.check_data,
               "Reads all data of a stopped broker, reports what is damaged and ends");
  app.add_flag("--accept-data-loss", flags.accept_data_loss,
               "Starts although synced data is damaged, with what can still be read");
  app.add_flag("--config-keys", flags.config_keys, "Lists every configuration key and ends");
  app.add_flag("--print-default-config", flags.default_config,
               "Prints a configuration file with the defaults");
  app.add_flag("-V,--version", flags.version, "Prints the version and ends");
}

Action action_of(const Flags& flags) {
  if (flags.version) return Action::print_version;
  if (flags.default_config) return Action::print_default_config;
  if (flags.config_keys) return Action::print_config_keys;
  if (flags.check_config) return Action::check_config;
  if (flags.check_data) return Action::check_data;
  return Action::serve;
}

// The value may hold further equals signs.
std::optional<ConfigOverride> parse_setting(const std::string& setting) {
  const std::size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0) return std::nullopt;
  return ConfigOverride{"--set", setting.substr(0, equals), setting.substr(equals + 1)};
}

}  // namespace

Result<CommandLine, std::string> parse_command_line(int argc, const char* const* argv) {
  CommandLine line;
  Flags flags;
  CLI::App app("Harrier, an AMQP 0-9-1 broker.", "harrierd");
  app.footer(kFooter);
  define(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    line.action = Action::print_help;
    line.help = app.help();
    return line;
  } catch (const CLI::ParseError& error) {
    return fail(std::string(error.what()));
  }

  line.action = action_of(flags);
  line.accept_data_loss = flags.accept_data_loss;
  if (!flags.config_file.empty()) line.config_file = flags.config_file;
  if (!flags.data_dir.empty()) line.overrides.push_back({"--data-dir", "data_dir", flags.data_dir});
  for (const std::string& setting : flags.settings) {
    std::optional<ConfigOverride> parsed = parse_setting(setting);
    if (!parsed) return fail("--set " + setting + ": write --set KEY=VALUE");
    line.overrides.push_back(std::move(*parsed));
  }
  return line;
}

std::variant<LoadedConfig, DataCheck, int> prepare_start(int argc, const char* const* argv,
                                                         std::ostream& out, std::ostream& err) {
  Result<CommandLine, std::string> line = parse_command_line(argc, argv);
  if (!line) {
    err << "harrierd: " << line.error() << "\nharrierd --help lists the flags.\n";
    return kExitUsage;
  }
  switch (line->action) {
    case Action::print_help:
      out << line->help;
      return 0;
    case Action::print_version:
      out << "harrierd " << version() << "\n";
      return 0;
    case Action::print_config_keys:
      print_config_keys(out);
      return 0;
    case Action::print_default_config:
      print_default_config(out);
      return 0;
    case Action::serve:
    case Action::check_config:
    case Action::check_data:
      break;
  }

  Result<LoadedConfig, ConfigErrors> loaded = load_config(line->config_file, line->overrides);
  if (!loaded) {
    for (const std::string& error : loaded.error().lines)
      err << error << "\n";
    return loaded.error().exit_code;
  }
  if (line->action == Action::check_config) {
    for (const std::string& warning : loaded->warnings)
      err << "warning: " << warning << "\n";
    out << "The configuration is valid.\n";
    return 0;
  }
  loaded->config.store.accept_data_loss = line->accept_data_loss;
  if (line->action == Action::check_data) return DataCheck{std::move(*loaded)};
  return std::move(*loaded);
}

}  // namespace harrier
