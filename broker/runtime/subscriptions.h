#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "broker/core/consumer.h"
#include "broker/core/queue.h"
#include "broker/core/queue_handle.h"
#include "protocol/reply_code.h"

namespace harrier {

class Broker;
class Shard;

using SubscriptionId = StrongId<struct SubscriptionTag, std::uint64_t>;

// The consumers of one shard's connections and, for those of other shards, of its queues. Where the
// queue lives here the calls go straight to it; otherwise a stand-in consumer on the queue's shard
// sends the deliveries over, at most kWindow of them ahead of what the connection has taken.
class Subscriptions {
 public:
  explicit Subscriptions(Shard& shard);
  ~Subscriptions();

  // --- for the sessions of this shard

  // basic.consume. `reply` runs before the first delivery. `port` lives until cancel() was called
  // or its cancelled() was.
  void subscribe(const QueueRef& queue, Consumer& port, ConsumerOptions options,
                 UniqueFunction<void(Result<SubscriptionId, ProtocolError>)> reply);
  // `done` once nothing is delivered any more and, if this was the last consumer of an auto-delete
  // queue, the queue is gone. What is on its way meanwhile goes to the port, which then has to live
  // until `done`; or back to the queue, where the port goes away at once.
  enum class Underway {
    to_port,
    to_queue
  };
  void cancel(SubscriptionId id, Underway underway, Task done);
  // The port can take more again.
  void resume(SubscriptionId id);

  // Ends one delivery of `queue`, by consume or get. What several of these make ready is handed out
  // by settled(), so that a requeue of many keeps their order.
  void settle(const QueueRef& queue, Sequence seq, Settlement how);
  void settled();

  // Sends the settlements collected for shard `to`: before anything else goes there, so that what a
  // channel does arrives in its order, and at the end of the turn.
  void flush_to(ShardIndex to);
  void flush();

  // Subscriptions of this shard's connections.
  std::size_t count() const { return here_.size(); }

 private:
  static constexpr std::uint32_t kWindow = 256;
  static constexpr std::uint32_t kCreditStep = 64;

  // A consumer of one of our connections.
  struct Here {
    QueueRef queue;
    Consumer* port = nullptr;
    QueueConsumer* at_queue = nullptr;  // when the queue lives here
    // When it lives elsewhere: deliveries that came before the port could take them, and how many
    // were taken since the other side was told.
    std::deque<Delivery> surplus;
    std::uint32_t taken = 0;
    bool no_ack = false;
    bool ending = false;  // cancelled; deliveries under way are still taken
  };
  class StandIn;

  struct RemoteSettlement {
    QueueId queue;
    Sequence seq = 0;
    Settlement how = Settlement::ack;
  };

  void subscribe_remote(const QueueRef& queue, Consumer& port, ConsumerOptions options,
                        UniqueFunction<void(Result<SubscriptionId, ProtocolError>)> reply);
  void give(SubscriptionId id, Here& here, Delivery&& delivery);
  void queue_gone(SubscriptionId id);
  Task unused_queue_removed(const QueueHandle& queue, Task done);

  // Run on the queue's shard for a subscription of shard `from`.
  Result<void, ProtocolError> stand_in(ShardIndex from, SubscriptionId id, QueueId queue,
                                       ConsumerOptions options);
  void end_stand_in(ShardIndex from, SubscriptionId id, Task done);
  void credit(SubscriptionId id, std::uint32_t taken);
  void settle_all(const std::vector<RemoteSettlement>& batch);
  void pump_later(Queue& queue);
  // Run on the connection's shard.
  void arrived(SubscriptionId id, ShardIndex from, QueueId queue, Delivery&& delivery);

  Shard& shard_;
  std::unordered_map<SubscriptionId, Here> here_;
  std::unordered_map<SubscriptionId, std::unique_ptr<StandIn>> stand_ins_;
  std::vector<Queue*> to_pump_;
  std::vector<std::vector<RemoteSettlement>> settlements_;  // by shard
};

}  // namespace harrier
