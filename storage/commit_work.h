#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "storage/lane_states.h"
#include "storage/store.h"

namespace harrier {

// What the batches of one commit do, gathered by lane: what is put and settled in the same commit
// vanishes. Keeps its memory from commit to commit. For the committer's thread.
class CommitWork {
 public:
  struct Put {
    Sequence seq;
    const StoreBatch::Operation* operation;  // null once settled within the commit
  };

  // What the commit does to one lane.
  struct Lane {
    LaneState* state = nullptr;
    bool dropped = false;  // then nothing else counts
    Sequence next_put = 0;
    Tally tally;
    std::vector<Put> puts;  // ascending
    std::vector<SequenceRange> settled;
    std::optional<Sequence> delivered;
  };

  // `lanes` gets those that are not known yet. Outlives this.
  explicit CommitWork(LaneStates& lanes) : lanes_(lanes) {}

  // The next commit may repeat puts and settles that its lanes know already: those are ignored.
  void expect_repeats() { repeats_ = true; }

  void begin_commit();

  void end_commit() { repeats_ = false; }

  // `operation` outlives the commit. False if the put counts for nothing: its lane is dropped, it
  // is a repetition, or it was settled before it came.
  bool put(const StoreBatch::Operation& operation);
  void settle(const StoreBatch::Operation& operation);
  void delivered_below(LaneId lane, Sequence seq);
  void drop(LaneId lane);

  std::span<Lane> lanes() { return std::span(works_).first(used_); }

  // Whether more is done than that entries vanish.
  bool must_write() const { return must_write_; }

 private:
  Lane* work_on(LaneId lane);
  void take_off(Lane& work, const Tally& were);

  LaneStates& lanes_;
  std::uint64_t commit_ = 0;
  std::vector<Lane> works_;  // the first used_ count
  std::size_t used_ = 0;
  Lane* last_ = nullptr;
  bool repeats_ = false;
  bool must_write_ = false;
  bool miscounted_ = false;  // was told
};

}  // namespace harrier
