#include "broker/admin/admin_commands.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace harrier {
namespace {

constexpr Logger kLog("admin");

constexpr AdminCommand kCommands[] = {
    {"backup", run_backup},
    {"delayed", run_delayed},
    {"trace", run_trace},
    {"redrive", run_redrive},
    {"policy set", run_policy_set},
    {"policy clear", run_policy_clear},
    {"policy list", run_policy_list},
    {"operator-policy set", run_operator_policy_set},
    {"operator-policy clear", run_operator_policy_clear},
    {"operator-policy list", run_operator_policy_list},
    {"limit set", run_limit_set},
    {"limit clear", run_limit_clear},
    {"limit list", run_limit_list},
    {"parameter set", run_parameter_set},
    {"parameter clear", run_parameter_clear},
    {"parameter list", run_parameter_list},
    {"vhost add", run_vhost_add},
    {"vhost set-queue-type", run_vhost_set_queue_type},
};

void refuse(std::string why, AdminReplyTo& reply) {
  reply([why = std::move(why)] { return to_line(fail(why)); });
}

}  // namespace

std::span<const AdminCommand> admin_commands() {
  return kCommands;
}

void run_admin_command(const AdminContext& context, std::string_view line, AdminReplyTo reply) {
  const auto request = parse_admin_request(line);
  if (!request) return refuse(request.error(), reply);
  const auto* const command = std::ranges::find(kCommands, request->command, &AdminCommand::name);
  if (command == std::end(kCommands)) {
    return refuse("unknown command '" + request->command + "'", reply);
  }
  kLog.info("told to {}", command->name);
  command->run(context, *request, [reply = std::move(reply)](AdminOutcome outcome) mutable {
    reply([outcome = std::move(outcome)]() mutable { return to_line(outcome()); });
  });
}

}  // namespace harrier
