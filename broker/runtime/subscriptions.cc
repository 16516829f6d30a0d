#include "broker/runtime/subscriptions.h"

#include <algorithm>

#include "base/assert.h"
#include "broker/core/errors.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/shard.h"

namespace harrier {

// Consumer of a queue of this shard for a connection of another one.
class Subscriptions::StandIn final : public Consumer {
 public:
  StandIn(Shard& shard, ShardIndex from, SubscriptionId id, Queue& queue)
      : shard_(shard), from_(from), id_(id), queue_(queue.handle().id()) {}

  bool can_take() const override { return ahead_ < kWindow; }

  void deliver(Delivery&& delivery) override {
    ++ahead_;
    shard_.send(from_, [&there = shard_.broker().shard(from_), id = id_, home = shard_.index(),
                        queue = queue_, delivery = std::move(delivery)]() mutable {
      there.subscriptions().arrived(id, home, queue, std::move(delivery));
    });
  }

  void cancelled() override {
    shard_.send(from_, [&there = shard_.broker().shard(from_), id = id_] {
      there.subscriptions().queue_gone(id);
    });
    shard_.subscriptions().stand_ins_.erase(id_);  // ends this
  }

  void taken(std::uint32_t count) { ahead_ -= count; }

  QueueId queue() const { return queue_; }

  QueueConsumer* at_queue = nullptr;

 private:
  Shard& shard_;
  const ShardIndex from_;
  const SubscriptionId id_;
  const QueueId queue_;
  std::uint32_t ahead_ = 0;  // sent and not known to be taken
};

Subscriptions::Subscriptions(Shard& shard) : shard_(shard) {
  settlements_.resize(shard.broker().shard_count());
}

Subscriptions::~Subscriptions() = default;

void Subscriptions::subscribe(const QueueRef& queue, Consumer& port, ConsumerOptions options,
                              UniqueFunction<void(Result<SubscriptionId, ProtocolError>)> reply) {
  if (queue->home() != shard_.index()) {
    subscribe_remote(queue, port, std::move(options), std::move(reply));
    return;
  }
  Queue* local = queue->queue();
  if (local == nullptr) {
    const QueueDefinition& gone = queue->definition();
    return reply(fail(no_queue(gone.name, gone.vhost)));
  }
  const auto consumer = local->consume(port, std::move(options));
  if (!consumer) return reply(fail(consumer.error()));
  const SubscriptionId id{shard_.next_number()};
  Here& here = here_[id];
  here.queue = queue;
  here.port = &port;
  here.at_queue = *consumer;
  reply(id);
  local->pump();
}

void Subscriptions::subscribe_remote(
    const QueueRef& queue, Consumer& port, ConsumerOptions options,
    UniqueFunction<void(Result<SubscriptionId, ProtocolError>)> reply) {
  const SubscriptionId id{shard_.next_number()};
  Here& here = here_[id];
  here.queue = queue;
  here.port = &port;
  here.no_ack = options.no_ack;
  Shard& home = shard_.broker().shard(queue->home());
  shard_.send(home.index(), [this, &home, id, queue_id = queue->id(), name = queue->name(),
                             vhost = queue->definition().vhost, options = std::move(options),
                             reply = std::move(reply)]() mutable {
    auto result =
        home.find_queue(queue_id) == nullptr
            ? fail(no_queue(name, vhost))
            : home.subscriptions().stand_in(shard_.index(), id, queue_id, std::move(options));
    // Sent before the first delivery, hence seen before it.
    home.send(shard_.index(),
              [this, id, result = std::move(result), reply = std::move(reply)]() mutable {
                if (result) return reply(id);
                here_.erase(id);
                reply(fail(std::move(result.error())));
              });
    if (Queue* local = home.find_queue(queue_id)) local->pump();
  });
}

Result<void, ProtocolError> Subscriptions::stand_in(ShardIndex from, SubscriptionId id,
                                                    QueueId queue_id, ConsumerOptions options) {
  Queue& queue = *shard_.find_queue(queue_id);
  auto consumer = std::make_unique<StandIn>(shard_, from, id, queue);
  auto at_queue = queue.consume(*consumer, std::move(options));
  if (!at_queue) return fail(at_queue.error());
  consumer->at_queue = *at_queue;
  stand_ins_.emplace(id, std::move(consumer));
  return {};
}

void Subscriptions::cancel(SubscriptionId id, Underway underway, Task done) {
  const auto found = here_.find(id);
  if (found == here_.end()) return done();  // the queue went first
  Here& here = found->second;
  const QueueRef ref = here.queue;
  if (QueueConsumer* at_queue = here.at_queue) {
    here_.erase(found);
    Queue* queue = ref->queue();
    if (queue == nullptr || queue->closed() || !queue->cancel(*at_queue)) return done();
    return unused_queue_removed(*ref, std::move(done))();
  }
  if (underway == Underway::to_port) {
    // RabbitMQ writes them before cancel-ok. The answer comes behind the last of them.
    here.ending = true;
    for (Delivery& delivery : here.surplus)
      here.port->deliver(std::move(delivery));
    here.surplus.clear();
    done = [this, id, then = std::move(done)]() mutable {
      here_.erase(id);
      then();
    };
  } else {
    for (const Delivery& delivery : here.surplus) {
      if (!here.no_ack) settle(ref, delivery.seq, Settlement::unseen);
    }
    here_.erase(found);
  }
  Shard& home = shard_.broker().shard(ref->home());
  shard_.send(home.index(), [this, &home, id, done = std::move(done)]() mutable {
    home.subscriptions().end_stand_in(shard_.index(), id, std::move(done));
  });
}

// What deletes an auto-delete queue that lost its last consumer, then runs `done` here.
Task Subscriptions::unused_queue_removed(const QueueHandle& queue, Task done) {
  const QueueDefinition& definition = queue.definition();
  return [this, vhost = definition.vhost, name = definition.name, id = definition.id,
          done = std::move(done)]() mutable {
    shard_.broker().control().delete_queue(
        shard_, vhost, name, id,
        [done = std::move(done)](const Result<void, ProtocolError>&) mutable { done(); });
  };
}

void Subscriptions::end_stand_in(ShardIndex from, SubscriptionId id, Task done) {
  auto back = [this, from, done = std::move(done)]() mutable {
    shard_.send(from, std::move(done));
  };
  const auto found = stand_ins_.find(id);
  if (found == stand_ins_.end()) return back();
  const std::unique_ptr<StandIn> consumer = std::move(found->second);
  stand_ins_.erase(found);
  Queue* queue = shard_.find_queue(consumer->queue());
  if (queue == nullptr || queue->closed() || !queue->cancel(*consumer->at_queue)) return back();
  unused_queue_removed(queue->handle(), std::move(back))();
}

void Subscriptions::resume(SubscriptionId id) {
  const auto found = here_.find(id);
  if (found == here_.end()) return;
  Here& here = found->second;
  if (here.at_queue != nullptr) {
    Queue* queue = here.queue->queue();
    if (queue != nullptr && !queue->closed()) queue->resume(*here.at_queue);
    return;
  }
  while (!here.surplus.empty() && here.port->can_take()) {
    Delivery delivery = std::move(here.surplus.front());
    here.surplus.pop_front();
    give(id, here, std::move(delivery));
  }
}

void Subscriptions::arrived(SubscriptionId id, ShardIndex from, QueueId queue,
                            Delivery&& delivery) {
  const auto found = here_.find(id);
  if (found == here_.end()) {
    // Cancelled while this was on its way: back to its place. One that needs no ack is lost with
    // its consumer, as it would be in a socket.
    settlements_[from].push_back({queue, delivery.seq, Settlement::unseen});
    return;
  }
  Here& here = found->second;
  if (here.ending || (here.surplus.empty() && here.port->can_take())) {
    give(id, here, std::move(delivery));
  } else {
    here.surplus.push_back(std::move(delivery));
  }
}

void Subscriptions::give(SubscriptionId id, Here& here, Delivery&& delivery) {
  here.port->deliver(std::move(delivery));
  if (++here.taken < kCreditStep) return;
  Shard& home = shard_.broker().shard(here.queue->home());
  shard_.send(home.index(), [&home, id, taken = std::exchange(here.taken, 0)] {
    home.subscriptions().credit(id, taken);
  });
}

void Subscriptions::credit(SubscriptionId id, std::uint32_t taken) {
  const auto found = stand_ins_.find(id);
  if (found == stand_ins_.end()) return;
  found->second->taken(taken);
  Queue* queue = shard_.find_queue(found->second->queue());
  if (queue != nullptr) queue->resume(*found->second->at_queue);
}

void Subscriptions::queue_gone(SubscriptionId id) {
  const auto found = here_.find(id);
  if (found == here_.end()) return;
  Consumer* port = found->second.port;
  here_.erase(found);
  port->cancelled();
}

void Subscriptions::settle(const QueueRef& queue, Sequence seq, Settlement how) {
  if (queue->home() != shard_.index()) {
    settlements_[queue->home()].push_back({queue->id(), seq, how});
    return;
  }
  Queue* local = queue->queue();
  if (local == nullptr) return;
  local->settle(seq, how);
  pump_later(*local);
}

void Subscriptions::settled() {
  for (Queue* queue : to_pump_)
    queue->pump();
  to_pump_.clear();
}

void Subscriptions::flush() {
  for (ShardIndex to = 0; to < shard_.broker().shard_count(); ++to)
    flush_to(to);
}

void Subscriptions::flush_to(ShardIndex to) {
  if (settlements_[to].empty()) return;
  Subscriptions& there = shard_.broker().shard(to).subscriptions();
  shard_.send(to,
              [&there, batch = std::exchange(settlements_[to], {})] { there.settle_all(batch); });
}

void Subscriptions::settle_all(const std::vector<RemoteSettlement>& batch) {
  for (const RemoteSettlement& settlement : batch) {
    Queue* queue = shard_.find_queue(settlement.queue);
    if (queue == nullptr) continue;
    queue->settle(settlement.seq, settlement.how);
    pump_later(*queue);
  }
  settled();
}

void Subscriptions::pump_later(Queue& queue) {
  if (std::find(to_pump_.begin(), to_pump_.end(), &queue) == to_pump_.end()) {
    to_pump_.push_back(&queue);
  }
}

}  // namespace harrier
