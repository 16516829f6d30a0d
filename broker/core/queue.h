#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sequence_window.h"
#include "base/task.h"
#include "broker/core/consumer.h"
#include "broker/core/queue_handle.h"
#include "broker/core/queue_host.h"
#include "broker/core/queue_parts/backlog.h"
#include "broker/core/queue_parts/consumer_set.h"
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
//
// The head is in memory. What comes when the memory is used up goes to the store alone (backlog)
// and is read back page by page, while somebody consumes. Then a message that is handed out leaves
// memory too, if the store has it, and is read back if it returns.
class Queue {
 public:
  // `host` and `handle` outlive the queue.
  Queue(QueueHandle& handle, QueueHost& host);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  const QueueHandle& handle() const { return handle_; }

  const QueueDefinition& definition() const { return handle_.definition(); }

  // Start-up only: all that the store has is backlog.
  void recover(const RecoveredLane& lane);

  // The lane that has to be dropped with this queue, if it has any.
  std::optional<LaneId> lane() const { return lane_; }

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

  std::size_t ready_count() const { return ready_in_memory_ + backlog_.count(); }

  std::size_t unacked_count() const { return entries_.unfinished() - ready_in_memory_; }

  // Octets of the bodies of ready messages.
  std::uint64_t ready_bytes() const { return ready_bytes_in_memory_ + backlog_.bytes(); }

  // Octets of memory its messages take.
  std::uint64_t held_bytes() const { return held_bytes_; }

  std::size_t consumer_count() const { return consumers_.count(); }

  // A consumer could take a message right now.
  bool has_free_consumer() { return consumers_.next() != nullptr; }

  // Clean stop: lets the store know which entries a consumer may have seen.
  void record_delivered();

  void check_invariants() const;

 private:
  struct Entry {
    MessageRef message;  // null when paged out: an unacked entry or one that returned
    QueueConsumer* consumer = nullptr;  // null while ready, and for a basic.get
    std::uint64_t body_bytes = 0;
    bool persistent = false;
    bool unacked = false;
    bool redelivered = false;
    bool stored = false;  // has been put
  };

  struct Getter {
    bool no_ack;
    GetReply reply;
  };

  enum class Reading : std::uint8_t {
    nothing,
    backlog,   // the begin of the backlog
    returned,  // bodies of entries that were requeued
    void_page  // what was asked for is gone: the answer will be ignored
  };

  bool has_room();
  void push_ready(MessageRef message, bool stored, bool redelivered);
  void page_out(MessageRef message, Timestamp now);
  // The oldest ready entry is in memory.
  bool head_is_loaded();
  // Reads the next page if somebody wants it and little is left in memory.
  void read_ahead();
  void request(Reading what, Sequence from, Sequence end);
  void take_page(LanePage&& page);
  void restore_returned(LanePage&& page);
  void finish_backlog();
  void found_damage(const std::string& detail);
  void serve_getters();
  void fail_getters(const ProtocolError& error);
  // Oldest ready entry; only while head_is_loaded().
  Sequence take_ready();
  void deliver(QueueConsumer& to);
  // Marks the entry handed out; settles it at once when it needs no ack.
  Delivery hand_out(Sequence seq, QueueConsumer* to, bool no_ack);
  void finish(Sequence seq, const Entry& entry);
  void hold(const Message& message);
  void let_go(const Message& message);
  std::size_t page_bytes() const;

  bool is_durable() const { return definition().durable; }

  bool is_wanted() const { return consumers_.count() > 0 || !getters_.empty(); }

  QueueHandle& handle_;
  QueueHost& host_;
  StoreBatch& batch_;
  MessageMemory& memory_;
  std::optional<LaneId> lane_;
  // What is unacknowledged or ready in memory. Where there is a backlog it begins at the end of
  // this.
  SequenceWindow<Entry> entries_;
  // Every entry from here on is ready and was not handed out since the start.
  Sequence fresh_ = 1;
  // Entries below fresh_ that are ready again, a min-heap: they go first, oldest first, which is
  // their original position.
  std::vector<Sequence> returned_;
  std::size_t ready_in_memory_ = 0;  // of entries_, with or without their body
  std::uint64_t ready_bytes_in_memory_ = 0;
  std::uint64_t held_bytes_ = 0;
  Backlog backlog_;
  Reading reading_ = Reading::nothing;
  Sequence reading_from_ = 0;
  std::optional<ProtocolError> damage_;  // the head cannot be read
  std::deque<Getter> getters_;           // wait for the head; the channel asks once at a time
  ConsumerSet consumers_;
  bool closed_ = false;
};

}  // namespace harrier
