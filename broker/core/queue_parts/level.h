#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
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
#include "broker/core/queue_parts/deadlines.h"
#include "broker/core/queue_parts/deduplication.h"
#include "broker/core/queue_parts/withdrawn.h"
#include "storage/store.h"

namespace harrier {

// What the levels of one queue have in common.
struct LevelShare {
  LevelShare(Queue& of, QueueHost& shard, bool is_durable)
      : queue(of), host(shard), batch(shard.batch()), memory(shard.memory()), durable(is_durable) {}

  Queue& queue;
  QueueHost& host;
  StoreBatch& batch;
  MessageMemory& memory;
  const bool durable;             // what is persistent in it survives a restart
  std::uint64_t held_bytes = 0;   // of memory, by the messages of all levels
  Deduplication* keys = nullptr;  // of messages that may come only once
};

// Ready messages looked at where they are.
struct LevelLook {
  struct Seen {
    Sequence seq = 0;
    MessageRef message;
  };

  std::vector<Seen> seen;
  Sequence next = 0;      // where to go on
  bool on_disk = false;   // what is there has to be read from the store:
  Sequence disk_end = 0;  // up to here
};

// One message in a queue's memory: ready, unacknowledged, or dead and not yet gone. 32 octets, as
// there may be millions.
struct QueueEntry {
  MessageRef message;                 // null when paged out: an unacked entry or one that returned
  QueueConsumer* consumer = nullptr;  // null while ready, and for a basic.get
  Timestamp expires_at = kNoTime;
  std::uint32_t body_bytes = 0;  // of 512 MiB at most
  std::uint32_t delivery_count : 26 = 0;
  bool persistent : 1 = false;
  bool unacked : 1 = false;
  bool redelivered : 1 = false;
  bool stored : 1 = false;  // has been put
  bool dead : 1 = false;    // waits to be dead-lettered
};

static_assert(sizeof(QueueEntry) == 32);

// The messages of one priority of a queue, in their order, under sequences of their own; a queue
// without priorities has one level. Lives and dies with its queue, on its shard.
//
// The head is in memory. What comes when the memory is used up goes to the store alone (backlog)
// and is read back page by page. Then a message that is handed out leaves memory too, if the store
// has it, and is read back if it returns.
class Level {
 public:
  // `share` outlives the level. `lane` of a durable queue; others take one when they first need it.
  Level(LevelShare& share, std::optional<LaneId> lane, std::uint8_t number = 0)
      : share_(share), lane_(lane), number_(number) {}

  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

  // Start-up only: all that the store has is backlog.
  void recover(const RecoveredLane& lane);

  // Start-up only: what is in the store may have deadlines (message_records.h).
  void recover_deadlines() { has_deadline_record_ = true; }

  // Start-up only: the count of a message in the store.
  void recover_count(Sequence seq, std::uint32_t count) { unread_counts_[seq] = count; }

  // The queue is gone: its lane has to go too.
  void drop_lane();

  std::optional<LaneId> lane() const { return lane_; }

  // A sequence as it is known outside the queue, whose levels all begin at 1.
  Sequence id_of(Sequence seq) const { return id_of(number_, seq); }

  static Sequence id_of(std::uint8_t number, Sequence seq) {
    return seq | Sequence{number} << kLevelShift;
  }

  static std::uint8_t number_in(Sequence id) {
    return static_cast<std::uint8_t>(id >> kLevelShift);
  }

  static Sequence sequence_in(Sequence id) { return id & ((Sequence{1} << kLevelShift) - 1); }

  std::size_t ready_count() const { return ready_in_memory_ + backlog_.count() - doomed_; }

  std::size_t unacked_count() const {
    return entries_.unfinished() - ready_in_memory_ - dead_count_;
  }

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

  // Appends a message: to what is in memory, and to the store if `stored`; or to the backlog, which
  // needs a lane.
  void push(MessageRef message, bool stored, Timestamp now, Timestamp expires_at);
  void page_out(MessageRef message, Timestamp now, Timestamp expires_at);

  // The oldest ready entry is in memory.
  bool head_is_loaded() {
    if (returned_.empty()) return ready_in_memory_ > 0;
    return static_cast<bool>(entries_.find(returned_.front())->message);
  }

  // Takes the oldest ready entry; only while head_is_loaded().
  Sequence take_ready();
  // Takes a ready entry of those in memory whose deadline is `now` or past.
  std::optional<Sequence> take_expired(Timestamp now);
  // No ready entry expires before this; what is behind others in the backlog is not looked at.
  Timestamp next_deadline() const;

  bool has_ready_in_memory() const { return ready_in_memory_ > 0; }

  // The oldest ready entry, of whatever state, counts no more. Only where none is in memory: it is
  // one of the backlog, and comes with take_doomed() once it was read.
  void doom_head() { ++doomed_; }

  std::size_t doomed_count() const { return doomed_; }

  bool is_doomed(Sequence seq) const {
    return doomed_ > 0 && seq >= backlog_.begin() &&
           seq < withdrawn_.end_of(backlog_.begin(), doomed_);
  }

  // Doomed entries that were read, taken.
  std::vector<Sequence> take_doomed() { return std::exchange(read_doomed_, {}); }

  // Takes the oldest ready entry, only while head_is_loaded(), and marks it handed out; settles it
  // at once when it needs no ack. The delivery's sequence is that of the level.
  Delivery hand_out(QueueConsumer* to, bool no_ack);

  // The entry of an unacknowledged delivery, null if there is none.
  QueueEntry* find_unacked(Sequence seq) {
    QueueEntry* entry = entries_.find(seq);
    return entry != nullptr && entry->unacked ? entry : nullptr;
  }

  // The message that was pushed or paged out last comes back to the queue, delivered in vain so
  // often.
  void mark_returned(Place where, const Message& message, std::uint32_t delivery_count);

  // An unacknowledged entry is ready again, at its old place.
  void give_back(Sequence seq, QueueEntry& entry);
  // How often the message was delivered in vain; kept over a restart.
  void set_delivery_count(Sequence seq, QueueEntry& entry, std::uint32_t count);
  // A taken or unacknowledged entry is to be dead-lettered: from now on it counts no more, and
  // stays until finish(). Its message; null if that has to be read first, see take_risen().
  MessageRef lay_out(Sequence seq, DeathReason reason);

  // A laid out entry.
  const QueueEntry* find_dead(Sequence seq) const { return entries_.find(seq); }

  // Those whose message came back with the last page.
  std::vector<DeadLetter> take_risen();

  // A taken, unacknowledged or dead entry is gone for good; nothing if there is none.
  void finish(Sequence seq) {
    if (const QueueEntry* entry = entries_.find(seq)) finish(seq, *entry);
  }

  void finish(Sequence seq, const QueueEntry& entry);
  // An unacknowledged entry is to have its message in memory: read_ahead() sees to it. Nothing if
  // it has it, or cannot get it.
  void want_message(Sequence seq);

  bool wants_messages() const { return !wanted_.empty(); }

  // Drops every ready entry and returns how many.
  std::size_t purge();

  // --- without handing out (level_look.cc)
  // Ready entries from `from` on, below `end`, in their order; at most `count` of them.
  LevelLook look(Sequence from, Sequence end, std::size_t count) const;
  // Whether an entry is ready, in memory or on disk.
  bool has_ready(Sequence seq) const;
  // Whether an entry in memory has another message than that: it was replaced since.
  bool holds_another(Sequence seq, const Message& message) const;
  // A ready entry is gone for good, wherever it is, with the body that it has. False if it is not
  // ready any more, or cannot be told from heads that are doomed.
  bool withdraw(Sequence seq, std::uint64_t body_bytes, bool persistent);
  // Whether `message` can take the place of a ready entry: where both are in memory and have no
  // deadline, as others count on their order.
  bool can_replace(Sequence seq, const Message& message, Timestamp expires_at) const;
  void replace(Sequence seq, MessageRef message, bool stored, Timestamp now);

  // Where the next message goes.
  Sequence next_sequence() const { return backlog_.empty() ? entries_.end() : backlog_.end(); }

  // Where the store has an entry: elsewhere for one that replaced another.
  Sequence stored_as(Sequence seq) const {
    if (replaced_.empty()) return seq;
    const auto found = replaced_.find(seq);
    return found == replaced_.end() ? seq : found->second;
  }

  // There is memory for the next page, whoever wants it.
  bool may_read_ahead() const { return share_.memory.may_hold(share_.held_bytes, kPageBytesMin); }

  // Something of it may be in the store alone.
  bool has_unread() const {
    return !returned_.empty() || !backlog_.empty() || !unread_dead_.empty() || !wanted_.empty();
  }

  // Reads the next page where it is needed: the messages of what is dead or was asked for; if
  // `wanted`, those of what returned, or more of the backlog when little is left in memory.
  void read_ahead(bool wanted) {
    if (!unread_dead_.empty() || !wanted_.empty() || doomed_ > 0 ||
        (wanted && (!returned_.empty() || !backlog_.empty()))) {
      read_next_page();
    }
  }

  // Reads the begin of the backlog, as something in it may be due.
  void read_backlog();

  // The answer to that. The detail where the head cannot be read: then the level is damaged and
  // stays where it is, as skipping the head would lose messages without a word.
  std::optional<std::string> paged_in(LanePage&& page);

  bool is_damaged() const { return damaged_; }

  // Where the last page asked for begins.
  Sequence reading_from() const { return reading_from_; }

  // Messages that its counters had and the store does not, since this was last asked.
  std::size_t take_missing() { return std::exchange(missing_, 0); }

  // Clean stop: lets the store know which entries a consumer may have seen.
  void record_delivered();

  // Aborts when something disagrees. Returns the octets of memory that its messages take.
  std::uint64_t check_invariants() const;

 private:
  static constexpr int kLevelShift = 56;
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

  QueueEntry& push_ready(MessageRef&& message, bool stored, Timestamp expires_at);
  void note_deadline(Sequence seq, Timestamp expires_at);

  struct Taken {
    Sequence seq;
    QueueEntry* entry;
  };

  // Takes the oldest ready entry that is in memory, of which there must be one.
  Taken take_oldest();
  // The same that returned.
  Taken take_returned();
  Sequence head() const;
  bool is_ready(Sequence seq) const;
  // A ready entry, wherever it stands, is ready no more.
  void take(Sequence seq);
  void drop_stale_returned();
  void record_deadlines();

  bool has_count_record(const QueueEntry& entry) const {
    return entry.delivery_count > 0 && entry.stored && entry.persistent && share_.durable;
  }

  void forget_count(Sequence seq);
  void drop_unread_counts();
  // Entries that are in no count any more are gone.
  void end_range(Sequence begin, Sequence end, const Tally& were);
  void pass_withdrawn();
  // From `seq` on, below `end`, nothing has its message in memory up to there.
  Sequence disk_end(Sequence seq, Sequence end) const;
  void raise_dead();
  void read_next_page();
  void request(Reading what, Sequence from, Sequence end);
  void take_page(LanePage&& page);
  std::optional<std::string> restore_returned(LanePage&& page);
  bool is_wanted(Sequence seq) const;
  void drop_wanted();
  void finish_backlog();
  void hold(const Message& message);
  void let_go(const Message& message);
  std::size_t page_bytes() const;

  LevelShare& share_;
  std::optional<LaneId> lane_;
  const std::uint8_t number_;  // the priority of its messages
  // What is unacknowledged or ready in memory. Where there is a backlog it begins at the end of
  // this.
  SequenceWindow<QueueEntry> entries_;
  // Every entry from here on is ready and was not handed out since the start.
  Sequence fresh_ = 1;
  // Entries below fresh_ that are ready again, a min-heap: they go first, oldest first, which is
  // their original position.
  std::vector<Sequence> returned_;
  std::size_t doomed_ = 0;  // of the backlog, at its begin
  std::vector<Sequence> read_doomed_;
  std::size_t ready_in_memory_ = 0;  // of entries_, with or without their body
  std::uint64_t ready_bytes_in_memory_ = 0;
  Deadlines deadlines_;  // of ready and unacked entries
  std::size_t dead_count_ = 0;
  std::vector<DeadLetter> unread_dead_;  // paged out, and wait for their message
  std::vector<DeadLetter> risen_;
  std::vector<Sequence> wanted_;  // unacked and paged out, ascending
  bool has_deadline_record_ = false;
  std::size_t count_records_ = 0;                    // of entries_
  std::map<Sequence, std::uint32_t> unread_counts_;  // of the backlog, as recovered
  Backlog backlog_;
  Withdrawn withdrawn_;                    // of the backlog
  std::map<Sequence, Sequence> replaced_;  // stored elsewhere than their place
  Reading reading_ = Reading::nothing;
  bool damaged_ = false;  // the head cannot be read
  Sequence reading_from_ = 0;
  std::size_t missing_ = 0;
};

}  // namespace harrier
