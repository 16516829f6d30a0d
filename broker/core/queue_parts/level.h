#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/sequence_window.h"
#include "broker/core/consumer.h"
#include "broker/core/message_memory.h"
#include "broker/core/queue_host.h"
#include "broker/core/queue_parts/backlog.h"
#include "broker/core/queue_parts/consumer_set.h"
#include "storage/store.h"

namespace harrier {

// What the levels of one queue have in common.
struct LevelShare {
  LevelShare(Queue& of, QueueHost& shard)
      : queue(of), host(shard), batch(shard.batch()), memory(shard.memory()) {}

  Queue& queue;
  QueueHost& host;
  StoreBatch& batch;
  MessageMemory& memory;
  std::uint64_t held_bytes = 0;  // of memory, by the messages of all levels
};

// One message in a queue's memory, ready or unacknowledged. The body of a message has at most 512
// MiB.
struct QueueEntry {
  MessageRef message;                 // null when paged out: an unacked entry or one that returned
  QueueConsumer* consumer = nullptr;  // null while ready, and for a basic.get
  std::uint32_t body_bytes = 0;
  bool persistent = false;
  bool unacked = false;
  bool redelivered = false;
  bool stored = false;  // has been put
};

// The messages of one priority of a queue, in their order, under sequences of their own; a queue
// without priorities has one level. Lives and dies with its queue, on its shard.
//
// The head is in memory. What comes when the memory is used up goes to the store alone (backlog)
// and is read back page by page. Then a message that is handed out leaves memory too, if the store
// has it, and is read back if it returns.
class Level {
 public:
  // `share` outlives the level. `lane` of a durable queue; others take one when they first need it.
  Level(LevelShare& share, std::optional<LaneId> lane) : share_(share), lane_(lane) {}

  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

  // Start-up only: all that the store has is backlog.
  void recover(const RecoveredLane& lane);

  std::optional<LaneId> lane() const { return lane_; }

  std::size_t ready_count() const { return ready_in_memory_ + backlog_.count(); }

  std::size_t unacked_count() const { return entries_.unfinished() - ready_in_memory_; }

  // Octets of the bodies of ready messages.
  std::uint64_t ready_bytes() const { return ready_bytes_in_memory_ + backlog_.bytes(); }

  bool empty() const { return ready_count() == 0; }

  // Where the next message goes. `taken_at_once`: asked only where memory is short.
  enum class Place : std::uint8_t {
    memory,
    both,   // in memory until it is handed out, and in the store in case it returns
    store,  // the backlog
  };

  template <class TakenAtOnce>
  Place place_for(const Message& message, TakenAtOnce taken_at_once) {
    if (!backlog_.empty()) return Place::store;
    if (share_.memory.may_hold(share_.held_bytes, memory_of(message))) return Place::memory;
    if (!lane_) lane_ = share_.host.take_lane();
    if (!lane_) return Place::memory;
    return ready_in_memory_ == 0 && taken_at_once() ? Place::both : Place::store;
  }

  // Appends a message: to what is in memory, and to the store if `stored`; or to the backlog. Both
  // need a lane.
  void push(MessageRef message, bool stored, Timestamp now);
  void page_out(MessageRef message, Timestamp now);

  // The oldest ready entry is in memory.
  bool head_is_loaded() {
    if (returned_.empty()) return ready_in_memory_ > 0;
    return static_cast<bool>(entries_.find(returned_.front())->message);
  }

  // Takes the oldest ready entry; only while head_is_loaded().
  Sequence take_ready();
  // Marks a taken entry handed out; settles it at once when it needs no ack.
  Delivery hand_out(Sequence seq, QueueConsumer* to, bool no_ack);

  // The entry of an unacknowledged delivery, null if there is none.
  QueueEntry* find_unacked(Sequence seq) {
    QueueEntry* entry = entries_.find(seq);
    return entry != nullptr && entry->unacked ? entry : nullptr;
  }

  // An unacknowledged entry is ready again, at its old place.
  void give_back(Sequence seq, QueueEntry& entry);
  // A taken or unacknowledged entry is gone for good.
  void finish(Sequence seq, const QueueEntry& entry);
  // Drops every ready entry and returns how many.
  std::size_t purge();

  // There is memory for the next page, whoever wants it.
  bool may_read_ahead() const { return share_.memory.may_hold(share_.held_bytes, kPageBytesMin); }

  // Reads the next page if little is left in memory, or what returned without its body.
  void read_ahead() {
    if (!returned_.empty() || !backlog_.empty()) read_next_page();
  }

  // The answer to that. The detail where the head cannot be read: then the level is damaged and
  // stays where it is, as skipping the head would lose messages without a word.
  std::optional<std::string> paged_in(LanePage&& page);

  bool is_damaged() const { return damaged_; }

  // Where the last page asked for begins.
  Sequence reading_from() const { return reading_from_; }

  // Messages that its counters had and the store does not, since this was last asked.
  std::size_t take_missing() { return std::exchange(missing_, 0); }

  // Clean stop: lets the store know which entries a consumer may have seen.
  void record_delivered() { share_.batch.delivered_below(*lane_, fresh_); }

  // Aborts when something disagrees. Returns the octets of memory that its messages take.
  std::uint64_t check_invariants() const;

 private:
  // Of memory for the messages of one page.
  static constexpr std::uint64_t kPageBytesMin = std::uint64_t{16} << 10;
  static constexpr std::uint64_t kPageBytesMax = std::uint64_t{2} << 20;

  // Octets of memory a message takes besides itself, in a queue that holds it, about.
  static constexpr std::uint64_t kEntryBytes = 64;

  static std::uint64_t memory_of(const Message& message) {
    return message.footprint() + kEntryBytes;
  }

  enum class Reading : std::uint8_t {
    nothing,
    backlog,   // the begin of the backlog
    returned,  // bodies of entries that were requeued
    void_page  // what was asked for is gone: the answer will be ignored
  };

  void push_ready(MessageRef message, bool stored, bool redelivered);
  void read_next_page();
  void request(Reading what, Sequence from, Sequence end);
  void take_page(LanePage&& page);
  std::optional<std::string> restore_returned(LanePage&& page);
  void finish_backlog();
  void hold(const Message& message);
  void let_go(const Message& message);
  std::size_t page_bytes() const;

  LevelShare& share_;
  std::optional<LaneId> lane_;
  // What is unacknowledged or ready in memory. Where there is a backlog it begins at the end of
  // this.
  SequenceWindow<QueueEntry> entries_;
  // Every entry from here on is ready and was not handed out since the start.
  Sequence fresh_ = 1;
  // Entries below fresh_ that are ready again, a min-heap: they go first, oldest first, which is
  // their original position.
  std::vector<Sequence> returned_;
  std::size_t ready_in_memory_ = 0;  // of entries_, with or without their body
  std::uint64_t ready_bytes_in_memory_ = 0;
  Backlog backlog_;
  Reading reading_ = Reading::nothing;
  bool damaged_ = false;  // the head cannot be read
  Sequence reading_from_ = 0;
  std::size_t missing_ = 0;
};

}  // namespace harrier
