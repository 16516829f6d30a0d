#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/message.h"
#include "broker/core/message_records.h"
#include "broker/core/queue_parts/deadlines.h"
#include "broker/core/queue_parts/level.h"
#include "storage/store.h"

namespace harrier {

// The messages of one queue that wait until they are due: published with a delay, or returned by a
// consumer and to be tried again later. They are in a lane of their own, all of them, and in memory
// only as 16 octets each; what is due is read back in the order in which it is due. Those that
// survive a restart have a record besides (message_records.h). Lives and dies with its queue, on
// its shard.
class DelayedMessages {
 public:
  // `share` outlives it. `lane` of a durable queue; others take one when they first need it, and
  // keep what comes before they got it in memory.
  DelayedMessages(LevelShare& share, std::optional<LaneId> lane, std::uint64_t seed);
  DelayedMessages(const DelayedMessages&) = delete;
  DelayedMessages& operator=(const DelayedMessages&) = delete;

  struct Arrival {
    MessageRef message;
    Timestamp expires_at = kNoTime;
    Timestamp due;
    std::uint32_t delivery_count = 0;  // 0: it comes from a publisher
  };

  // One that is due.
  struct Released {
    MessageRef message;
    Timestamp expires_at;
    std::uint32_t delivery_count;
  };

  // Start-up only: first every record, then the lane, if anything was ever in it.
  void recover(const DelayRecord& record);
  void recover(const RecoveredLane& lane);

  std::optional<LaneId> lane() const { return lane_; }

  // The queue is gone: its lane has to go too.
  void drop_lane();

  void add(Arrival arrival, Timestamp now);

  // Where the next one goes.
  Sequence next_sequence() const { return next_seq_; }

  // As Level::id_of(), of which no level makes the same.
  static Sequence id_of(Sequence seq) { return seq | kIdBit; }

  static constexpr Sequence kIdBit = Sequence{1} << 55;

  // When the first one is due that is not being read; kNever if there is none.
  Timestamp next_due() const { return waiting_.empty() ? kNever : waiting_.front().due; }

  // Begins to read what is due by `now`, if nothing is being read.
  void collect(Timestamp now);
  // The answer to QueueHost::read.
  void paged_in(LanePage&& page);
  // What was collected, in the order in which it was due, once all of it is read; none before. It
  // has left the lane.
  std::vector<Released> take_released();

  bool is_collecting() const { return !collected_.empty(); }

  // Drops those published with that cancel key; returns how many.
  std::size_t cancel(std::string_view key);
  // Drops all; returns how many.
  std::size_t purge();
  // All are due at once, in the order in which they would have been.
  void make_all_due();

  std::size_t count() const { return count_; }

  // Octets of their bodies.
  std::uint64_t bytes() const { return bytes_; }

  // Messages that cannot be read, since this was last asked: they stay in the store.
  std::size_t take_unreadable() { return std::exchange(unreadable_, 0); }

  // --- returned messages that have to be read before they can be put into the lane. By the id that
  // they have outside the queue.
  void await_return(Sequence id, Timestamp due) { returning_[id] = due; }

  std::optional<Timestamp> take_return(Sequence id);

  std::size_t awaited_returns() const { return returning_.size(); }

  // Within 0 and 1, for the jitter of retries.
  double chance() { return std::uniform_real_distribution<>()(random_); }

 private:
  // Of these there may be millions.
  struct Waiting {
    Timestamp due;
    Sequence seq : 56;
    Sequence count : 8;  // kCountElsewhere: see large_counts_
  };

  static_assert(sizeof(Waiting) == 16);
  static constexpr std::uint32_t kCountElsewhere = 255;
  // Messages that are read at once, and octets of memory they may take, about.
  static constexpr std::size_t kCollectedMax = 2048;
  static constexpr std::uint64_t kCollectedBytes = std::uint64_t{2} << 20;
  // So many others in between are read with their neighbours: that costs less than another page.
  static constexpr Sequence kGapMax = 8;
  static constexpr std::size_t kPagesAtOnce = 8;

  struct Later {
    bool operator()(const Waiting& a, const Waiting& b) const {
      return a.due != b.due ? a.due > b.due : a.seq > b.seq;
    }
  };

  // Due, and being read.
  struct Collected {
    Waiting waiting;
    MessageRef message{};
    Timestamp expires_at = kNoTime;
    bool stored = true;
    bool gone = false;  // cancelled, or damaged
    bool back = false;  // in waiting_ again: too much was read
  };

  // Waits in memory for a lane.
  struct Held {
    MessageRef message;
    Timestamp since;
    Timestamp expires_at;
  };

  struct Cancellable {
    std::uint32_t body_bytes;
    bool persistent;
  };

  struct Asked {
    Sequence from;
    Sequence end;
  };

  bool has_record(const Message& message) const { return share_.durable && message.persistent(); }

  void append(Timestamp due, Sequence seq, std::uint32_t count);
  void put(Sequence seq, const Arrival& arrival, Timestamp now, std::string_view key);
  void put_held();
  Waiting take_first();
  std::uint32_t take_count(const Waiting& waiting);
  std::size_t collected_max() const;
  void read_collected();
  void read(Sequence from, Sequence end);
  Collected* find_collected(Sequence seq);
  void settle(Sequence seq, Tally was);
  void forget_key(const Message& message, Sequence seq);
  void drop(Sequence seq, const Cancellable& one);
  void read_on();
  void give_back(const Asked& range);
  void drop_records();
  void drop_outside(const RecoveredLane& lane);
  void settle_gaps(const RecoveredLane& lane);
  void clear();

  LevelShare& share_;
  std::optional<LaneId> lane_;
  Sequence next_seq_ = 1;
  std::vector<Waiting> waiting_;  // a min-heap
  std::unordered_map<Sequence, std::uint32_t> large_counts_;
  std::map<Sequence, Held> held_;
  std::vector<Collected> collected_;                      // as they are due
  std::vector<std::pair<Sequence, std::size_t>> by_seq_;  // where in collected_
  std::deque<Asked> asked_;                               // pages, in the order of their answers
  std::deque<Asked> to_ask_;
  std::uint64_t collected_bytes_ = 0;                               // of memory, by what was read
  std::map<std::pair<std::uint64_t, Sequence>, Cancellable> keys_;  // by hash of the cancel key
  std::unordered_set<Sequence> cancelled_;                          // still in waiting_
  std::unordered_map<Sequence, Timestamp> returning_;
  std::size_t count_ = 0;
  std::uint64_t bytes_ = 0;
  Tally tally_;  // of those the lane has, what a restart would find
  std::size_t unreadable_ = 0;
  std::minstd_rand random_;
};

// The key under which a message may be cancelled; empty if it has none.
std::string cancel_key_of(const Message& message);

}  // namespace harrier
