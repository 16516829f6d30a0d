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
// delayed.cc: "queue", and maybe "vhost", "release" ("true"), "cancel" (a key)
void run_delayed(const AdminContext& context, const AdminRequest& request, AdminDone done);
// trace.cc
void run_trace(const AdminContext& context, const AdminRequest& request, AdminDone done);

// redrive.cc. Answers with "rows", one for each job (broker/runtime/redrive.h).
//   "queue", and maybe "vhost", "to", "routing-key", "filter", "rate", "limit"; what is "true" of
//   "dry-run", "reset-count" and "wait"
//   "status", "true"; or "cancel", the number of a job
void run_redrive(const AdminContext& context, const AdminRequest& request, AdminDone done);

// settings.cc. Each tells control, on shard 0; what cannot be is answered with RabbitMQ's text.
// "vhost" is "/" where it is not given. Lists have "rows".
//   set: "name", "pattern", "definition" (JSON), and maybe "priority", "apply-to", "vhost"
//   clear: "name" and maybe "vhost"
void run_policy_set(const AdminContext& context, const AdminRequest& request, AdminDone done);
void run_policy_clear(const AdminContext& context, const AdminRequest& request, AdminDone done);
void run_policy_list(const AdminContext& context, const AdminRequest& request, AdminDone done);
void run_operator_policy_set(const AdminContext& context, const AdminRequest& request,
                             AdminDone done);
void run_operator_policy_clear(const AdminContext& context, const AdminRequest& request,
                               AdminDone done);
void run_operator_policy_list(const AdminContext& context, const AdminRequest& request,
                              AdminDone done);
//   "name", "value" (a whole number), and "user" or "vhost"
void run_limit_set(const AdminContext& context, const AdminRequest& request, AdminDone done);
void run_limit_clear(const AdminContext& context, const AdminRequest& request, AdminDone done);
void run_limit_list(const AdminContext& context, const AdminRequest& request, AdminDone done);
//   "component", "name", "value" (JSON), "vhost"; a global one has no component
void run_parameter_set(const AdminContext& context, const AdminRequest& request, AdminDone done);
void run_parameter_clear(const AdminContext& context, const AdminRequest& request, AdminDone done);
void run_parameter_list(const AdminContext& context, const AdminRequest& request, AdminDone done);
//   "name"; "vhost" and "type", "" for classic
void run_vhost_add(const AdminContext& context, const AdminRequest& request, AdminDone done);
void run_vhost_set_queue_type(const AdminContext& context, const AdminRequest& request,
                              AdminDone done);

}  // namespace harrier
