// harrier config: what a configuration file may say, without a broker running.

#include <memory>
#include <ostream>
#include <string>
#include <variant>

#include <CLI/App.hpp>

#include "broker/config/config_file.h"
#include "broker/config/config_keys.h"
#include "broker/config/nearest_key.h"
#include "broker/config/rabbitmq_keys.h"
#include "cli/commands.h"

namespace harrier {
namespace {

std::string_view type_of(const ConfigKey& key) {
  struct Name {
    std::string_view operator()(const NumberValue&) const { return "number"; }

    std::string_view operator()(const FlagValue&) const { return "switch"; }

    std::string_view operator()(const TextValue&) const { return "text"; }

    std::string_view operator()(const ListValue&) const {
      return "list, one key per item; the first one given replaces the default";
    }
  };

  return std::visit(Name(), key.value);
}

// For a list the first item, as it would stand in the file.
std::string default_of(const ConfigKey& key) {
  std::string value = key.show(load_config(std::nullopt, {})->config);
  const std::string_view prefix = list_prefix(key.name);
  if (prefix.empty()) return value;
  return std::string(prefix) + std::string(key.example_part) + " = " + value;
}

int check(const std::string& file, Terminal terminal) {
  const Result<LoadedConfig, ConfigErrors> loaded = load_config(file, {});
  if (!loaded) {
    for (const std::string& error : loaded.error().lines)
      terminal.err << error << "\n";
    return loaded.error().exit_code;
  }
  for (const std::string& warning : loaded->warnings)
    terminal.err << "warning: " << warning << "\n";
  terminal.out << "The configuration is valid.\n";
  return 0;
}

int explain_unknown(const std::string& name, Terminal terminal) {
  if (is_rabbitmq_only_key(name)) {
    terminal.out << name << "\n  Known to RabbitMQ but without effect here.\n";
    return 0;
  }
  const std::optional<std::string> near = nearest_config_key(name);
  terminal.err << "unknown key '" << name << "'; "
               << (near ? "did you mean '" + *near + "'?"
                        : std::string("harrier config keys lists the known ones"))
               << "\n";
  return kExitBadConfig;
}

int explain(const std::string& name, Terminal terminal) {
  const ConfigKey* key = find_config_key(name).key;
  if (key == nullptr) return explain_unknown(name, terminal);
  terminal.out << key->name << "\n  " << key->help << "\n"
               << "  Type:    " << type_of(*key) << "\n"
               << "  Values:  " << describe_values(*key) << "\n"
               << "  Default: " << default_of(*key) << "\n";
  return 0;
}

}  // namespace

RunCommand define_config_check(CLI::App& app) {
  const auto file = std::make_shared<std::string>();
  app.add_option("FILE", *file, "Configuration file in the form of rabbitmq.conf")->required();
  return [file](Terminal terminal) { return check(*file, terminal); };
}

RunCommand define_config_explain(CLI::App& app) {
  const auto key = std::make_shared<std::string>();
  app.add_option("KEY", *key, "Name of a key; one that takes a list with or without its star")
      ->required();
  return [key](Terminal terminal) { return explain(*key, terminal); };
}

RunCommand define_config_keys(CLI::App&) {
  return [](Terminal terminal) {
    print_config_keys(terminal.out);
    return 0;
  };
}

}  // namespace harrier
