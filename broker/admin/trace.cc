// trace: copies of all messages of a virtual host go to its amq.rabbitmq.trace, or no longer.

#include <string>
#include <utility>

#include "broker/admin/admin_commands.h"
#include "broker/runtime/broker.h"

namespace harrier {

// A row of admin_commands.cc.
void run_trace(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  const std::string_view state = request.argument("state");
  std::string vhost(request.argument("vhost"));
  if (vhost.empty() || (state != "on" && state != "off")) {
    return done([]() -> AdminReply {
      return fail(std::string(R"(trace needs a "vhost", and a "state" that is on or off)"));
    });
  }
  Broker& broker = context.broker;
  broker.shard(0).post(
      [&broker, vhost = std::move(vhost), on = state == "on", done = std::move(done)]() mutable {
        broker.control().set_tracing(
            broker.shard(0), vhost, on,
            [vhost, done = std::move(done)](const Result<void, ProtocolError>& result) mutable {
              done([vhost, error = result ? std::string() : result.error().text]() -> AdminReply {
                if (!error.empty()) return fail(error);
                return AdminFields{{"vhost", vhost}};
              });
            });
      });
}

}  // namespace harrier
