#pragma once

#include <functional>
#include <iosfwd>
#include <span>
#include <string_view>

namespace CLI {
class App;
}

namespace harrier {

// Where a command writes: what was asked for, and what went wrong.
struct Terminal {
  std::ostream& out;
  std::ostream& err;
};

// What a command does once its arguments are known. Returns the exit code of the process.
using RunCommand = std::function<int(Terminal)>;

// One thing `harrier` can do. The table in commands.cc is all there is: a new command is a file in
// commands/ and a row.
struct Command {
  std::string_view name;  // the words it is called by: "config check"
  std::string_view help;  // one line, for --help
  // Adds the command's arguments to `app`. What it returns runs after they were parsed, so it keeps
  // alive what they are parsed into.
  RunCommand (*define)(CLI::App& app);
};

// Exit codes beside those of harrierd.
inline constexpr int kExitFailed = 1;     // the broker refused or failed
inline constexpr int kExitNoBroker = 69;  // EX_UNAVAILABLE: none runs there

std::span<const Command> commands();

// All of main(): finds the command, parses its arguments and runs it. Exit codes are those of
// harrierd (broker/config/config_file.h), 64 for a bad command line among them.
int run_command(int argc, const char* const* argv, Terminal terminal);

// commands/backup.cc
RunCommand define_backup(CLI::App& app);
// commands/config.cc
RunCommand define_config_check(CLI::App& app);
RunCommand define_config_explain(CLI::App& app);
RunCommand define_config_keys(CLI::App& app);
// commands/delayed.cc
RunCommand define_delayed(CLI::App& app);
// commands/redrive.cc
RunCommand define_redrive(CLI::App& app);
// commands/settings.cc
RunCommand define_policy_set(CLI::App& app);
RunCommand define_policy_clear(CLI::App& app);
RunCommand define_policy_list(CLI::App& app);
RunCommand define_operator_policy_set(CLI::App& app);
RunCommand define_operator_policy_clear(CLI::App& app);
RunCommand define_operator_policy_list(CLI::App& app);
RunCommand define_limit_set(CLI::App& app);
RunCommand define_limit_clear(CLI::App& app);
RunCommand define_limit_list(CLI::App& app);
RunCommand define_parameter_set(CLI::App& app);
RunCommand define_parameter_clear(CLI::App& app);
RunCommand define_parameter_list(CLI::App& app);
RunCommand define_vhost_add(CLI::App& app);
RunCommand define_vhost_set_queue_type(CLI::App& app);
// commands/trace.cc
RunCommand define_trace_off(CLI::App& app);
RunCommand define_trace_on(CLI::App& app);

}  // namespace harrier
