// harrier policy, operator-policy, limit, parameter, vhost: tell a running broker.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/App.hpp>

#include "broker/config/config.h"
#include "cli/commands.h"
#include "cli/tell_broker.h"

namespace harrier {
namespace {

struct Settings {
  std::string data_dir = Config().store.data_dir;
  std::map<std::string, std::string> fields;  // of the request; empty ones are not sent
};

using Shared = std::shared_ptr<Settings>;

Shared define_common(CLI::App& app) {
  auto settings = std::make_shared<Settings>();
  add_data_dir(app, settings->data_dir);
  return settings;
}

void add_word(CLI::App& app, const Shared& settings, const std::string& field,
              const std::string& shown, const std::string& help) {
  app.add_option(shown, settings->fields[field], help)->required();
}

void add_option(CLI::App& app, const Shared& settings, const std::string& field,
                const std::string& type, const std::string& help) {
  app.add_option("--" + field, settings->fields[field], help)->type_name(type);
}

void add_vhost(CLI::App& app, const Shared& settings) {
  app.add_option("-p,--vhost", settings->fields["vhost"], "The virtual host, / by default")
      ->type_name("NAME");
}

int tell(std::string_view command, const Settings& settings, Terminal terminal) {
  AdminFields request{{"command", std::string(command)}};
  for (const auto& [name, value] : settings.fields) {
    if (!value.empty()) request[name] = value;
  }
  return tell_broker(settings.data_dir, request, terminal, print_rows(terminal));
}

// `command` outlives the process's main().
RunCommand run(std::string_view command, Shared settings) {
  return [command, settings = std::move(settings)](Terminal terminal) {
    return tell(command, *settings, terminal);
  };
}

RunCommand define_set_policy(CLI::App& app, std::string_view command) {
  const Shared settings = define_common(app);
  add_word(app, settings, "name", "NAME", "Name of the policy; one of that name is replaced");
  add_word(app, settings, "pattern", "PATTERN",
           "Regular expression (RE2), found anywhere in the name of a queue or exchange");
  add_word(app, settings, "definition", "DEFINITION",
           "JSON object of settings: '{\"max-length\":1000}'");
  add_option(app, settings, "priority", "N", "The highest that matches holds; 0 by default");
  add_option(app, settings, "apply-to", "WHAT",
             "all (the default), queues, classic_queues, quorum_queues or exchanges");
  add_vhost(app, settings);
  return run(command, settings);
}

RunCommand define_clear_policy(CLI::App& app, std::string_view command) {
  const Shared settings = define_common(app);
  add_word(app, settings, "name", "NAME", "Name of the policy");
  add_vhost(app, settings);
  return run(command, settings);
}

RunCommand define_list_policies(CLI::App& app, std::string_view command) {
  const Shared settings = define_common(app);
  add_vhost(app, settings);
  return run(command, settings);
}

Shared define_limit(CLI::App& app) {
  Shared settings = define_common(app);
  add_word(app, settings, "name", "LIMIT",
           "max-connections, max-queues (of a virtual host) or max-channels (of a user)");
  add_vhost(app, settings);
  add_option(app, settings, "user", "NAME", "The limit is this user's, not a virtual host's");
  app.get_option("--user")->excludes("--vhost");
  return settings;
}

Shared define_parameter(CLI::App& app) {
  Shared settings = define_common(app);
  add_word(app, settings, "name", "NAME", "Name of the parameter");
  add_option(app, settings, "component", "NAME",
             "What it belongs to, as shovel; without one it is a global parameter");
  add_vhost(app, settings);
  return settings;
}

}  // namespace

RunCommand define_policy_set(CLI::App& app) {
  return define_set_policy(app, "policy set");
}

RunCommand define_policy_clear(CLI::App& app) {
  return define_clear_policy(app, "policy clear");
}

RunCommand define_policy_list(CLI::App& app) {
  return define_list_policies(app, "policy list");
}

RunCommand define_operator_policy_set(CLI::App& app) {
  return define_set_policy(app, "operator-policy set");
}

RunCommand define_operator_policy_clear(CLI::App& app) {
  return define_clear_policy(app, "operator-policy clear");
}

RunCommand define_operator_policy_list(CLI::App& app) {
  return define_list_policies(app, "operator-policy list");
}

RunCommand define_limit_set(CLI::App& app) {
  const Shared settings = define_limit(app);
  add_word(app, settings, "value", "VALUE", "A whole number; a negative one is no limit");
  return run("limit set", settings);
}

RunCommand define_limit_clear(CLI::App& app) {
  return run("limit clear", define_limit(app));
}

RunCommand define_limit_list(CLI::App& app) {
  return run("limit list", define_common(app));
}

RunCommand define_parameter_set(CLI::App& app) {
  const Shared settings = define_parameter(app);
  add_word(app, settings, "value", "VALUE", "A JSON document");
  return run("parameter set", settings);
}

RunCommand define_parameter_clear(CLI::App& app) {
  return run("parameter clear", define_parameter(app));
}

RunCommand define_parameter_list(CLI::App& app) {
  return run("parameter list", define_common(app));
}

RunCommand define_vhost_add(CLI::App& app) {
  const Shared settings = define_common(app);
  add_word(app, settings, "name", "NAME", "Name of the virtual host");
  return run("vhost add", settings);
}

RunCommand define_vhost_set_queue_type(CLI::App& app) {
  const Shared settings = define_common(app);
  add_word(app, settings, "type", "TYPE", "classic or quorum: of queues declared without a type");
  add_vhost(app, settings);
  return run("vhost set-queue-type", settings);
}

}  // namespace harrier
