#include "cli/commands.h"

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "broker/config/config_file.h"
#include "broker/config/version.h"

namespace harrier {
namespace {

// The first words that several commands share.
struct Group {
  std::string_view name;
  std::string_view help;
};

constexpr Group kGroups[] = {
    {"config", "Configuration files and their keys"},
    {"limit", "How much virtual hosts and users of a running broker may have"},
    {"operator-policy", "Bounds to the settings of queues, by name"},
    {"parameter", "Runtime parameters of a running broker"},
    {"policy", "Settings of queues and exchanges, by name"},
    {"trace", "Copies of all messages, for debugging"},
    {"vhost", "Virtual hosts of a running broker"},
};

constexpr Command kCommands[] = {
    {"backup", "Copies a running broker's data into a directory", define_backup},
    {"config check", "Says what is wrong with a configuration file", define_config_check},
    {"config explain", "Says what a configuration key means", define_config_explain},
    {"config keys", "Lists every configuration key", define_config_keys},
    {"delayed", "Counts, releases or cancels the messages of a queue that are not due yet",
     define_delayed},
    {"limit clear", "Ends a limit", define_limit_clear},
    {"limit list", "Lists all limits", define_limit_list},
    {"limit set", "Limits a virtual host or a user", define_limit_set},
    {"operator-policy clear", "Ends an operator policy", define_operator_policy_clear},
    {"operator-policy list", "Lists operator policies", define_operator_policy_list},
    {"operator-policy set", "Makes or replaces an operator policy", define_operator_policy_set},
    {"parameter clear", "Ends a runtime parameter", define_parameter_clear},
    {"parameter list", "Lists all runtime parameters", define_parameter_list},
    {"parameter set", "Makes or replaces a runtime parameter", define_parameter_set},
    {"policy clear", "Ends a policy", define_policy_clear},
    {"policy list", "Lists policies", define_policy_list},
    {"policy set", "Makes or replaces a policy", define_policy_set},
    {"redrive", "Moves dead letters back to where they came from, or elsewhere", define_redrive},
    {"trace off", "Ends the copies to amq.rabbitmq.trace", define_trace_off},
    {"trace on", "Copies every message published and delivered to amq.rabbitmq.trace",
     define_trace_on},
    {"vhost add", "Makes a virtual host", define_vhost_add},
    {"vhost set-queue-type", "Sets the type of queues declared without one",
     define_vhost_set_queue_type},
};

struct Defined {
  CLI::App* app;  // owned by the top one
  RunCommand run;
};

CLI::App& add_group(CLI::App& parent, std::string_view name) {
  const std::vector<CLI::App*> existing =
      parent.get_subcommands([name](CLI::App* app) { return app->get_name() == name; });
  if (!existing.empty()) return *existing.front();
  std::string_view help;
  for (const Group& group : kGroups) {
    if (group.name == name) help = group.help;
  }
  return *parent.add_subcommand(std::string(name), std::string(help));
}

// Makes the subcommands that the words of the name stand for.
Defined define(CLI::App& top, const Command& command) {
  CLI::App* parent = &top;
  std::string_view word = command.name;
  for (std::size_t space = word.find(' '); space != std::string_view::npos;
       space = word.find(' ')) {
    parent = &add_group(*parent, word.substr(0, space));
    word.remove_prefix(space + 1);
  }
  CLI::App& app = *parent->add_subcommand(std::string(word), std::string(command.help));
  return {&app, command.define(app)};
}

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

int run_command(int argc, const char* const* argv, Terminal terminal) {
  CLI::App top("Administers Harrier, an AMQP 0-9-1 broker.", "harrier");
  top.footer("`harrier COMMAND --help` explains one command.");
  top.set_version_flag("-V,--version", "harrier " + std::string(version()),
                       "Prints the version and ends");
  std::vector<Defined> defined;
  for (const Command& command : kCommands)
    defined.push_back(define(top, command));

  try {
    top.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    top.exit(asked, terminal.out, terminal.err);  // prints the help or the version
    return 0;
  } catch (const CLI::ParseError& error) {
    terminal.err << "harrier: " << error.what() << "\nharrier --help lists the commands.\n";
    return kExitUsage;
  }
  for (const Defined& command : defined) {
    if (command.app->parsed()) return command.run(terminal);
  }
  terminal.err << top.help();  // of the group, when one was named
  return kExitUsage;
}

}  // namespace harrier
