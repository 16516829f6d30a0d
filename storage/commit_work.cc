#include "storage/commit_work.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/log.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");

}  // namespace

void CommitWork::begin_commit() {
  ++commit_;
  used_ = 0;
  last_ = nullptr;
  must_write_ = false;
}

bool CommitWork::put(const StoreBatch::Operation& operation) {
  Lane* work = work_on(operation.lane);
  if (work == nullptr) return false;
  if (repeats_ && operation.seq < work->next_put) return false;
  HARRIER_CHECK(operation.seq >= work->next_put);
  // The skipped sequences will never be put; were they left open, the floor would stop there.
  if (operation.seq > work->next_put) work->settled.push_back({work->next_put, operation.seq});
  work->next_put = operation.seq + 1;
  if (work->state->settled.contains(operation.seq)) return false;
  work->puts.push_back({operation.seq, &operation});
  work->tally += tally_of(*operation.message);
  return true;
}

void CommitWork::settle(const StoreBatch::Operation& operation) {
  Lane* work = work_on(operation.lane);
  if (work == nullptr) return;
  const SequenceRange range{operation.seq, operation.end};
  if (repeats_ && work->state->settled.covers(range)) return;
  take_off(*work, operation.tally);
  auto put = std::lower_bound(work->puts.begin(), work->puts.end(), range.begin,
                              [](const Put& entry, Sequence seq) { return entry.seq < seq; });
  std::uint64_t vanished = 0;
  for (; put != work->puts.end() && put->seq < range.end; ++put, ++vanished) {
    put->operation = nullptr;
  }
  // Something stored may be settled unless the range is one entry of this very commit.
  if (vanished == 0 || range.end - range.begin != vanished) must_write_ = true;
  if (!work->settled.empty() && work->settled.back().end == range.begin) {
    work->settled.back().end = range.end;
  } else {
    work->settled.push_back(range);
  }
}

void CommitWork::delivered_below(LaneId lane, Sequence seq) {
  Lane* work = work_on(lane);
  if (work == nullptr) return;
  work->delivered = std::max(work->delivered.value_or(0), seq);
  must_write_ = true;
}

void CommitWork::drop(LaneId lane) {
  must_write_ = true;
  Lane* work = work_on(lane);
  if (work == nullptr) return;
  work->dropped = true;
  work->puts.clear();
  work->settled.clear();
  work->delivered.reset();
}

// The work on `lane` in this commit; null if the lane is dropped.
CommitWork::Lane* CommitWork::work_on(LaneId id) {
  if (last_ == nullptr || last_->state->id != id) {
    LaneState* lane = lanes_.obtain(id);
    if (lane == nullptr) return nullptr;
    if (lane->commit != commit_) {
      if (used_ == works_.size()) works_.emplace_back();
      lane->commit = commit_;
      lane->work = used_++;
      Lane& work = works_[lane->work];
      work.state = lane;
      work.dropped = false;
      work.next_put = lane->next_put;
      work.tally = lane->tally;
      work.puts.clear();
      work.settled.clear();
      work.delivered.reset();
    }
    last_ = &works_[lane->work];
  }
  return last_->dropped ? nullptr : last_;
}

// Entries of this very commit were counted when they were put. More can go than there is only if a
// caller is wrong: then the count stops at zero, for the messages themselves are unharmed.
void CommitWork::take_off(Lane& work, const Tally& were) {
  Tally& left = work.tally;
  const bool wrong = were.entries > left.entries || were.bytes > left.bytes;
  left -= {std::min(left.entries, were.entries), std::min(left.bytes, were.bytes)};
  if (!wrong || std::exchange(miscounted_, true)) return;
  kLog.error("lane {} lost more messages than it had: its counters are wrong until it is empty",
             work.state->id.value);
}

}  // namespace harrier
