#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "storage/keys.h"
#include "storage/store.h"

namespace harrier {

// Sequences begin <= seq < end.
struct SequenceRange {
  Sequence begin = 0;
  Sequence end = 0;

  bool empty() const { return begin >= end; }

  friend bool operator==(const SequenceRange&, const SequenceRange&) = default;
};

// Sorts, and joins what overlaps or touches.
void normalize(std::vector<SequenceRange>& ranges);

// Which sequences of a lane are settled: all below a floor, and disjoint ranges above it, one more
// than there are old unacknowledged messages at most.
class SettledSet {
 public:
  Sequence floor() const { return floor_; }

  // Ascending, disjoint, not touching, all above floor().
  std::span<const SequenceRange> ranges() const { return ranges_; }

  bool contains(Sequence seq) const { return covers({seq, seq + 1}); }

  bool covers(SequenceRange range) const;

  // One past the highest settled sequence.
  Sequence end() const { return ranges_.empty() ? floor_ : ranges_.back().end; }

  // How many sequences of `range` are settled.
  std::uint64_t count(SequenceRange range) const;

  // `fresh` must be normalized. O(fresh + ranges above the first of them).
  void add(std::span<const SequenceRange> fresh);

 private:
  Sequence floor_ = 1;
  std::vector<SequenceRange> ranges_;
};

// The smallest range with all of both.
SequenceRange hull(const SequenceRange& a, const SequenceRange& b);

// The blocks of one lane in one epoch.
struct LaneRun {
  Epoch epoch = 0;
  Sequence first_seq = 0;
  Sequence last_seq = 0;
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  // In it are all unsettled entries that have chunks of their bodies in this epoch; empty if none.
  SequenceRange bodies{};

  friend bool operator==(const LaneRun&, const LaneRun&) = default;
};

// The body of an unsettled entry has chunks in an epoch before that of its block.
struct BodyUse {
  Sequence seq = 0;
  Epoch epoch = 0;

  // NOLINTNEXTLINE(modernize-use-nullptr)
  friend auto operator<=>(const BodyUse&, const BodyUse&) = default;
};

// An epoch in which some lane has unsettled entries.
struct EpochUse {
  Epoch epoch = 0;
  std::uint64_t live_bytes = 0;  // octets of the unsettled ones in blocks, about, if counted
};

struct LaneState {
  LaneId id;
  SettledSet settled;
  Sequence next_seq = 1;        // above everything put, settled or delivered
  Sequence next_put = 1;        // one past the last put: what a later put skips counts as settled
  Sequence delivered = 0;       // entries below may have been delivered
  Tally tally;                  // persistent entries that are put and not settled
  std::vector<LaneRun> runs;    // ascending epochs, those with unsettled entries
  std::vector<BodyUse> bodies;  // ascending, none twice
  bool changed = false;         // since its last snapshot in qs

  // Position among the lanes of the commit at hand; owned by the commit writer.
  std::uint64_t commit = 0;
  std::size_t work = 0;
};

// All lanes there are, and which epochs they still need. Belongs to the recovery, then to the
// committer thread. Addresses of states are stable until the lane is dropped.
class LaneStates {
 public:
  LaneState* find(LaneId lane);
  const LaneState* find(LaneId lane) const;

  // The state of `lane`, made if it is new. Null for a dropped lane.
  LaneState* obtain(LaneId lane);

  // Takes the state of a snapshot. Replaces nothing: the lane must be new.
  LaneState& restore(LaneState&& state);

  // A block of `lane` was written: `run` has one block's figures.
  void add_block(LaneState& lane, const LaneRun& block);

  // The body of the entry `seq`, which is in a block of `current`, lies in `runs`. Again for what
  // is known already it changes nothing.
  void add_body(LaneState& lane, Sequence seq, std::span<const BodyRun> runs, Epoch current);

  // `fresh` must be normalized. Frees the leading runs that are wholly settled.
  void settle(LaneState& lane, std::span<const SequenceRange> fresh);

  void drop(LaneId lane, Epoch current);

  bool is_dropped(LaneId lane) const { return dropped_.contains(lane); }

  // Forgets where the entries and bodies of all lanes lie, which is then told anew.
  void forget_runs();

  // Looks also at runs behind an old unsettled entry, which settle() does not.
  void release_settled_runs(LaneState& lane);

  // The epochs in which bodies of unsettled entries lie, ascending.
  std::vector<Epoch> body_epochs() const;

  // The epochs in which some lane has unsettled entries, ascending, their octets not counted.
  std::vector<EpochUse> needed_epochs() const;

  // Likewise, counted. Looks at every run of every lane.
  std::vector<EpochUse> count_needed_epochs() const;

  // Epochs that lost their last entry, or the last with a body there, since the last call of
  // forget_released().
  std::uint64_t released_epochs() const { return released_epochs_; }

  void forget_released() { released_epochs_ = 0; }

  // Dropped lanes are remembered for the filter until no file can hold them.
  void forget_dropped_before(Epoch oldest);

  const std::unordered_map<LaneId, LaneState>& all() const { return lanes_; }

  std::unordered_map<LaneId, LaneState>& all() { return lanes_; }

  const std::unordered_map<LaneId, Epoch>& dropped() const { return dropped_; }

  // For tests: the counters agree with the lanes.
  bool check_invariants() const;

 private:
  using EpochCounts = std::map<Epoch, std::uint64_t>;

  void release(EpochCounts& counts, Epoch epoch);
  void release_bodies(LaneRun& run);
  void release(LaneRun& run);

  std::unordered_map<LaneId, LaneState> lanes_;
  std::unordered_map<LaneId, Epoch> dropped_;  // with the epoch they were dropped in
  EpochCounts runs_of_epoch_;
  EpochCounts bodies_of_epoch_;  // runs that have bodies there, and uses
  std::uint64_t released_epochs_ = 0;
};

}  // namespace harrier
