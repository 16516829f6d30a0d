#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/task.h"
#include "broker/core/consumer.h"
#include "broker/core/queue_handle.h"
#include "broker/core/queue_host.h"
#include "broker/core/queue_parts/consumer_set.h"
#include "broker/core/queue_parts/level.h"
#include "broker/core/queue_settings.h"
#include "protocol/reply_code.h"
#include "storage/store.h"

namespace harrier {

// What became of a message given to a queue.
enum class Enqueued : std::uint8_t {
  held,    // in memory only: a transient message or queue
  paged,   // written as well, for want of memory; a restart loses it all the same
  stored,  // safe once the batch of this turn is durable
};

// A message taken by basic.get.
struct Got {
  Delivery delivery;
  std::size_t ready_left = 0;
};

// What basic.get finds: nothing in an empty queue; INTERNAL_ERROR where the store is damaged.
using GetResult = Result<std::optional<Got>, ProtocolError>;

// A queue hands ready messages to consumers in order and remembers what is unacknowledged.
// Lives on its home shard; every call belongs to a turn of that shard. What must survive a restart
// is recorded in the turn's batch. AMQP 0-9-1 section 3.1.4.
// The messages are in its level (queue_parts/level.h); pages are read back while somebody consumes.
class Queue {
 public:
  // `host` and `handle` outlive the queue.
  Queue(QueueHandle& handle, QueueHost& host);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  const QueueHandle& handle() const { return handle_; }

  const QueueDefinition& definition() const { return handle_.definition(); }

  // What holds from now on, by declaration and policies.
  const QueueSettings& settings() const { return settings_; }

  void apply(QueueSettings settings, Timestamp /*now*/) { settings_ = std::move(settings); }

  // Start-up only: all that the store has is backlog.
  void recover(const RecoveredLane& lane);

  // The lane that has to be dropped with this queue, if it has any.
  std::optional<LaneId> lane() const { return base_.lane(); }

  // Appends and hands out what it can.
  Enqueued enqueue(MessageRef message, Timestamp now);

  // basic.consume. Deliveries start with the next pump(), so that consume-ok can go first.
  // ACCESS_REFUSED when an exclusive consumer is or would be in the way, NOT_FOUND after close().
  // The reference stays good until cancel() or close().
  Result<QueueConsumer*, ProtocolError> consume(Consumer& port, ConsumerOptions options);
  // Ends the consumer; its unacknowledged deliveries stay with their channel. True when this left
  // an auto-delete queue without consumers: the caller deletes it.
  [[nodiscard]] bool cancel(QueueConsumer& consumer);
  // `consumer` can take more again.
  void resume(QueueConsumer& consumer);

  // basic.get: never limited by prefetch. Answers within the call, or in a later turn when the
  // message has to be read first.
  using GetReply = UniqueFunction<void(GetResult)>;
  void get(bool no_ack, GetReply reply);

  // Ends a delivery. Ignored for a sequence that is not unacknowledged here, which a delete or
  // purge may have caused. Call pump() after the last one of a turn's group.
  void settle(Sequence seq, Settlement how);

  // Gives ready messages to consumers until one of both runs out.
  void pump();

  // The answer to QueueHost::read.
  void paged_in(LanePage&& page);

  // Drops every ready message and returns how many; unacknowledged ones stay.
  std::size_t purge();

  // The queue is being deleted: consumers are told, nothing is accepted or handed out any more. Its
  // lane goes later, when its definition has: until then a crash brings the queue back. Returns the
  // number of ready messages that went with it.
  std::size_t close();

  bool closed() const { return closed_; }

  std::size_t ready_count() const { return base_.ready_count(); }

  std::size_t unacked_count() const { return base_.unacked_count(); }

  // Octets of the bodies of ready messages.
  std::uint64_t ready_bytes() const { return base_.ready_bytes(); }

  // Octets of memory its messages take.
  std::uint64_t held_bytes() const { return share_.held_bytes; }

  std::size_t consumer_count() const { return consumers_.count(); }

  // basic.publish/immediate: whether a consumer would get the next message now.
  bool takes_at_once() { return !closed_ && ready_count() == 0 && has_free_consumer(); }

  // A consumer could take a message right now.
  bool has_free_consumer() { return consumers_.next() != nullptr; }

  // Lets the store know which entries a consumer may have seen.
  void record_delivered();
  // Clean stop: the same, and nobody gets a message any more. Publishes are still taken.
  void stop_deliveries();

  void check_invariants() const;

 private:
  struct Getter {
    bool no_ack;
    GetReply reply;
  };

  // The level whose head goes next; the lowest when all are empty.
  Level& next_level() { return base_; }

  // Reads the next page if somebody wants it and little is left in memory. Where memory is short
  // only for somebody who takes a message now.
  void read_ahead() {
    if (closed_ || !is_wanted()) return;
    Level& level = next_level();
    if (level.may_read_ahead() || !getters_.empty() || has_free_consumer()) level.read_ahead();
  }

  void found_damage(const Level& level, const std::string& detail);
  void report_missing(Level& level);
  void serve_getters();
  void fail_getters(const ProtocolError& error);
  ProtocolError damage() const;
  void deliver(Level& level, QueueConsumer& to);

  bool is_durable() const { return definition().durable; }

  bool is_wanted() const { return consumers_.count() > 0 || !getters_.empty(); }

  QueueHandle& handle_;
  QueueHost& host_;
  QueueSettings settings_;
  LevelShare share_;
  Level base_;
  std::deque<Getter> getters_;  // wait for the head; the channel asks once at a time
  ConsumerSet consumers_;
  bool closed_ = false;
  bool stopping_ = false;
};

}  // namespace harrier
