#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/task.h"
#include "broker/admin/admin_message.h"
#include "broker/admin/admin_server.h"

namespace harrier {

class Backups;
class Broker;

// What commands act on.
struct AdminContext {
  Backups& backups;
  Broker& broker;
};

// Makes a reply; runs on the admin thread, where it may take a moment.
using AdminOutcome = UniqueFunction<AdminReply()>;
// Any thread, once.
using AdminDone = UniqueFunction<void(AdminOutcome)>;

// One thing a running broker can be told. The table in admin_commands.cc is all there is: a new
// command is a function and a row.
struct AdminCommand {
  std::string_view name;
  // Runs on the admin thread and must not block. `context` outlives what it starts.
  void (*run)(const AdminContext& context, const AdminRequest& request, AdminDone done);
};

std::span<const AdminCommand> admin_commands();

// An AdminHandler: parses the line, finds the command and runs it.
void run_admin_command(const AdminContext& context, std::string_view line, AdminReplyTo reply);

// backup.cc
void run_backup(const AdminContext& context, const AdminRequest& request, AdminDone done);
// trace.cc
void run_trace(const AdminContext& context, const AdminRequest& request, AdminDone done);

}  // namespace harrier
