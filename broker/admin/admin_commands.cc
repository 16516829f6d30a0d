#include "broker/admin/admin_commands.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace harrier {
namespace {

constexpr Logger kLog("admin");

constexpr AdminCommand kCommands[] = {
    {"backup", run_backup},
    {"trace", run_trace},
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
