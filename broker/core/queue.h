#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/sequence_window.h"
#include "broker/core/consumer.h"
#include "broker/core/queue_handle.h"
#include "broker/core/queue_parts/consumer_set.h"
#include "protocol/reply_code.h"
#include "storage/store.h"

namespace harrier {

// What became of a message given to a queue.
enum class Enqueued : std::uint8_t {
  held,    // in memory only: a transient message or queue
  stored,  // safe once the batch of this turn is durable
};

// A message taken by basic.get.
struct Got {
  Delivery delivery;
  std::size_t ready_left = 0;
};

// A queue hands ready messages to consumers in order and remembers what is unacknowledged.
// Lives on its home shard; every call belongs to a turn of that shard. What must survive a restart
// is recorded in the turn's batch. AMQP 0-9-1 section 3.1.4.
class Queue {
 public:
  // `batch` is the one the home shard fills in every turn; both outlive the queue.
  Queue(QueueHandle& handle, StoreBatch& batch);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  const QueueHandle& handle() const { return handle_; }

  const QueueDefinition& definition() const { return handle_.definition(); }

  // Start-up only: the entries in ascending order, then where sequences go on.
  void recover(StoredEntry&& entry);
  void continue_from(Sequence next_seq);

  // Appends and hands out what it can.
  Enqueued enqueue(MessageRef message, Timestamp now);
  // basic.publish/immediate: takes the message only if a consumer gets it now.
  std::optional<Enqueued> enqueue_immediate(MessageRef message, Timestamp now);

  // basic.consume. Deliveries start with the next pump(), so that consume-ok can go first.
  // ACCESS_REFUSED when an exclusive consumer is or would be in the way, NOT_FOUND after close().
  // The reference stays good until cancel() or close().
  Result<QueueConsumer*, ProtocolError> consume(Consumer& port, ConsumerOptions options);
  // Ends the consumer; its unacknowledged deliveries stay with their channel. True when this left
  // an auto-delete queue without consumers: the caller deletes it.
  [[nodiscard]] bool cancel(QueueConsumer& consumer);
  // `consumer` can take more again.
  void resume(QueueConsumer& consumer);

  // basic.get: never limited by prefetch.
  std::optional<Got> get(bool no_ack);

  // Ends a delivery. Ignored for a sequence that is not unacknowledged here, which a delete or
  // purge may have caused. Call pump() after the last one of a turn's group.
  void settle(Sequence seq, Settlement how);

  // Gives ready messages to consumers until one of both runs out.
  void pump();

  // Drops every ready message and returns how many; unacknowledged ones stay.
  std::size_t purge();

  // The queue is being deleted: consumers are told, nothing is accepted or handed out any more. Its
  // lane goes later, when its definition has: until then a crash brings the queue back. Returns the
  // number of ready messages that went with it.
  std::size_t close();

  bool closed() const { return closed_; }

  std::size_t ready_count() const { return ready_count_; }

  std::size_t unacked_count() const { return entries_.unfinished() - ready_count_; }

  std::uint64_t ready_bytes() const { return ready_bytes_; }

  std::size_t consumer_count() const { return consumers_.count(); }

  // A consumer could take a message right now.
  bool has_free_consumer() { return consumers_.next() != nullptr; }

  // Clean stop: lets the store know which entries a consumer may have seen.
  void record_delivered();

  void check_invariants() const;

 private:
  struct Entry {
    MessageRef message;
    QueueConsumer* consumer = nullptr;  // null while ready, and for a basic.get
    bool unacked = false;
    bool redelivered = false;
    bool stored = false;
  };

  // Oldest ready entry; only while ready_count_ > 0.
  Sequence take_ready();
  void deliver(QueueConsumer& to);
  // Marks the entry handed out; settles it at once when it needs no ack.
  Delivery hand_out(Sequence seq, QueueConsumer* to, bool no_ack);
  void finish(Sequence seq, const Entry& entry);

  bool is_durable() const { return definition().durable; }

  QueueHandle& handle_;
  StoreBatch& batch_;
  SequenceWindow<Entry> entries_;
  // Every entry from here on is ready and was never delivered.
  Sequence fresh_ = 1;
  // Entries below fresh_ that are ready again, a min-heap: they go first, oldest first, which is
  // their original position.
  std::vector<Sequence> returned_;
  std::size_t ready_count_ = 0;
  std::uint64_t ready_bytes_ = 0;
  ConsumerSet consumers_;
  bool closed_ = false;
};

}  // namespace harrier
