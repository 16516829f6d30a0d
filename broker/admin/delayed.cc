// delayed: how many messages of a queue wait until they are due; lets them come at once, or cancels
// those with a key.

#include <cstdint>
#include <string>
#include <utility>

#include "broker/admin/admin_commands.h"
#include "broker/core/errors.h"
#include "broker/core/queue.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/handover.h"

namespace harrier {
namespace {

struct Wish {
  bool release = false;
  std::string cancel_key;  // none if empty
};

struct Counts {
  std::uint64_t delayed = 0;
  std::uint64_t released = 0;
  std::uint64_t cancelled = 0;
};

Counts grant(Queue& queue, const Wish& wish) {
  Counts counts;
  if (!wish.cancel_key.empty()) counts.cancelled = queue.cancel_delayed(wish.cancel_key);
  if (wish.release) counts.released = queue.release_delayed();
  counts.delayed = queue.delayed_count();
  return counts;
}

void reply(AdminDone& done, const Wish& wish, const Counts& counts) {
  AdminFields fields{{"messages_delayed", counts.delayed}};
  if (wish.release) fields.emplace_back("released", counts.released);
  if (!wish.cancel_key.empty()) fields.emplace_back("cancelled", counts.cancelled);
  done([fields = std::move(fields)]() -> AdminReply { return fields; });
}

// In a turn of the queue's home; answers once what was done is durable.
void run_at_home(Shard& home, QueueId id, const Wish& wish, AdminDone done) {
  Queue* queue = home.find_queue(id);
  const Counts counts = queue == nullptr ? Counts{} : grant(*queue, wish);
  if (counts.cancelled == 0) return reply(done, wish, counts);
  home.when_durable(home.turn_ticket(), [wish, counts, done = std::move(done)]() mutable {
    reply(done, wish, counts);
  });
}

}  // namespace

// A row of admin_commands.cc.
void run_delayed(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  const std::string_view vhost = request.argument("vhost");
  Wish wish;
  wish.release = request.argument("release") == "true";
  wish.cancel_key = request.argument("cancel");
  Broker& broker = context.broker;
  broker.shard(0).post([&broker, vhost = std::string(vhost.empty() ? "/" : vhost),
                        name = std::string(request.argument("queue")), wish = std::move(wish),
                        done = std::move(done)]() mutable {
    const VirtualHost* host = broker.shard(0).find_vhost(vhost);
    const QueueHandle* queue = host == nullptr ? nullptr : host->find_queue(name);
    if (queue == nullptr) {
      return done([text = no_queue(name, vhost).text]() -> AdminReply { return fail(text); });
    }
    Shard& home = broker.shard(queue->home());
    home.post([&home, id = queue->id(), wish = std::move(wish), done = std::move(done)]() mutable {
      run_at_home(home, id, wish, std::move(done));
    });
  });
}

}  // namespace harrier
