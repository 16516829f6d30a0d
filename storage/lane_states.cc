#include "storage/lane_states.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/assert.h"

namespace harrier {

void normalize(std::vector<SequenceRange>& ranges) {
  std::erase_if(ranges, [](const SequenceRange& range) { return range.begin >= range.end; });
  const auto by_begin = [](const SequenceRange& a, const SequenceRange& b) {
    return a.begin < b.begin;
  };
  if (!std::is_sorted(ranges.begin(), ranges.end(), by_begin)) {
    std::sort(ranges.begin(), ranges.end(), by_begin);
  }
  std::size_t kept = 0;
  for (const SequenceRange& range : ranges) {
    if (kept > 0 && range.begin <= ranges[kept - 1].end) {
      ranges[kept - 1].end = std::max(ranges[kept - 1].end, range.end);
    } else {
      ranges[kept++] = range;
    }
  }
  ranges.resize(kept);
}

SequenceRange hull(const SequenceRange& a, const SequenceRange& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

bool SettledSet::covers(SequenceRange range) const {
  if (range.end <= floor_) return true;
  auto after = std::upper_bound(
      ranges_.begin(), ranges_.end(), range.begin,
      [](Sequence seq, const SequenceRange& settled) { return seq < settled.begin; });
  return after != ranges_.begin() && range.end <= std::prev(after)->end;
}

std::uint64_t SettledSet::count(SequenceRange range) const {
  const auto overlap = [&](const SequenceRange& settled) -> std::uint64_t {
    const Sequence begin = std::max(range.begin, settled.begin);
    const Sequence end = std::min(range.end, settled.end);
    return begin < end ? end - begin : 0;
  };
  std::uint64_t found = overlap({0, floor_});
  auto at = std::lower_bound(
      ranges_.begin(), ranges_.end(), range.begin,
      [](const SequenceRange& settled, Sequence seq) { return settled.end <= seq; });
  for (; at != ranges_.end() && at->begin < range.end; ++at)
    found += overlap(*at);
  return found;
}

void SettledSet::add(std::span<const SequenceRange> fresh) {
  if (fresh.empty()) return;
  // Most often: the oldest messages go, nothing is settled above them.
  if (ranges_.empty() && fresh.size() == 1 && fresh[0].begin <= floor_) {
    floor_ = std::max(floor_, fresh[0].end);
    return;
  }
  // Only ranges from the one that the first fresh range touches can change.
  auto first = std::lower_bound(
      ranges_.begin(), ranges_.end(), fresh[0].begin,
      [](const SequenceRange& settled, Sequence seq) { return settled.end < seq; });
  std::vector<SequenceRange> changed(first, ranges_.end());
  ranges_.erase(first, ranges_.end());
  const auto middle = static_cast<std::ptrdiff_t>(changed.size());
  changed.insert(changed.end(), fresh.begin(), fresh.end());
  std::inplace_merge(
      changed.begin(), changed.begin() + middle, changed.end(),
      [](const SequenceRange& a, const SequenceRange& b) { return a.begin < b.begin; });
  normalize(changed);
  ranges_.insert(ranges_.end(), changed.begin(), changed.end());

  auto above = ranges_.begin();
  for (; above != ranges_.end() && above->begin <= floor_; ++above) {
    floor_ = std::max(floor_, above->end);
  }
  ranges_.erase(ranges_.begin(), above);
}

LaneState* LaneStates::find(LaneId lane) {
  auto found = lanes_.find(lane);
  return found == lanes_.end() ? nullptr : &found->second;
}

const LaneState* LaneStates::find(LaneId lane) const {
  auto found = lanes_.find(lane);
  return found == lanes_.end() ? nullptr : &found->second;
}

LaneState* LaneStates::obtain(LaneId lane) {
  auto found = lanes_.find(lane);
  if (found != lanes_.end()) return &found->second;
  if (is_dropped(lane)) return nullptr;
  LaneState& state = lanes_[lane];
  state.id = lane;
  return &state;
}

LaneState& LaneStates::restore(LaneState&& state) {
  const LaneId id = state.id;
  auto [at, is_new] = lanes_.try_emplace(id, std::move(state));
  HARRIER_CHECK(is_new);
  for (const LaneRun& run : at->second.runs) {
    ++runs_of_epoch_[run.epoch];
    if (!run.bodies.empty()) ++bodies_of_epoch_[run.epoch];
  }
  for (const BodyUse& use : at->second.bodies)
    ++bodies_of_epoch_[use.epoch];
  return at->second;
}

void LaneStates::add_block(LaneState& lane, const LaneRun& block) {
  if (lane.runs.empty() || lane.runs.back().epoch != block.epoch) {
    HARRIER_CHECK(lane.runs.empty() || lane.runs.back().epoch < block.epoch);
    lane.runs.push_back(block);
    ++runs_of_epoch_[block.epoch];
    if (!block.bodies.empty()) ++bodies_of_epoch_[block.epoch];
  } else {
    LaneRun& run = lane.runs.back();
    run.last_seq = block.last_seq;
    run.entries += block.entries;
    run.bytes += block.bytes;
    if (run.bodies.empty() && !block.bodies.empty()) ++bodies_of_epoch_[block.epoch];
    run.bodies = hull(run.bodies, block.bodies);
  }
  lane.next_put = std::max(lane.next_put, block.last_seq + 1);
  lane.next_seq = std::max(lane.next_seq, block.last_seq + 1);
  lane.changed = true;
}

void LaneStates::add_body(LaneState& lane, Sequence seq, std::span<const BodyRun> runs,
                          Epoch current) {
  for (const BodyRun& run : runs) {
    if (run.epoch == current) continue;
    const BodyUse use{seq, run.epoch};
    const auto at = std::lower_bound(lane.bodies.begin(), lane.bodies.end(), use);
    if (at != lane.bodies.end() && *at == use) continue;
    lane.bodies.insert(at, use);
    ++bodies_of_epoch_[use.epoch];
    lane.changed = true;
  }
}

void LaneStates::settle(LaneState& lane, std::span<const SequenceRange> fresh) {
  lane.settled.add(fresh);
  lane.next_seq = std::max(lane.next_seq, lane.settled.end());
  lane.changed = true;
  std::size_t gone = 0;
  while (gone < lane.runs.size() && lane.runs[gone].last_seq < lane.settled.floor()) {
    release(lane.runs[gone++]);
  }
  lane.runs.erase(lane.runs.begin(), lane.runs.begin() + static_cast<std::ptrdiff_t>(gone));
  if (!lane.runs.empty() && lane.runs.front().bodies.end <= lane.settled.floor()) {
    release_bodies(lane.runs.front());
  }
  auto used = lane.bodies.begin();
  for (; used != lane.bodies.end() && used->seq < lane.settled.floor(); ++used)
    release(bodies_of_epoch_, used->epoch);
  lane.bodies.erase(lane.bodies.begin(), used);
}

void LaneStates::drop(LaneId lane, Epoch current) {
  auto found = lanes_.find(lane);
  if (found != lanes_.end()) {
    for (LaneRun& run : found->second.runs)
      release(run);
    for (const BodyUse& use : found->second.bodies)
      release(bodies_of_epoch_, use.epoch);
    lanes_.erase(found);
  }
  dropped_[lane] = current;
}

void LaneStates::forget_runs() {
  runs_of_epoch_.clear();
  bodies_of_epoch_.clear();
  for (auto& [id, lane] : lanes_) {
    lane.runs.clear();
    lane.bodies.clear();
  }
}

void LaneStates::release_settled_runs(LaneState& lane) {
  std::erase_if(lane.runs, [&](LaneRun& run) {
    if (lane.settled.covers(run.bodies)) release_bodies(run);
    if (!lane.settled.covers({run.first_seq, run.last_seq + 1})) return false;
    release(run);
    return true;
  });
  std::erase_if(lane.bodies, [&](const BodyUse& use) {
    if (!lane.settled.contains(use.seq)) return false;
    release(bodies_of_epoch_, use.epoch);
    return true;
  });
}

void LaneStates::release(LaneRun& run) {
  release_bodies(run);
  release(runs_of_epoch_, run.epoch);
}

void LaneStates::release_bodies(LaneRun& run) {
  if (run.bodies.empty()) return;
  run.bodies = {};
  release(bodies_of_epoch_, run.epoch);
}

void LaneStates::release(EpochCounts& counts, Epoch epoch) {
  auto count = counts.find(epoch);
  HARRIER_CHECK(count != counts.end());
  if (--count->second > 0) return;
  counts.erase(count);
  ++released_epochs_;
}

std::vector<Epoch> LaneStates::body_epochs() const {
  std::vector<Epoch> epochs;
  epochs.reserve(bodies_of_epoch_.size());
  for (const auto& [epoch, users] : bodies_of_epoch_)
    epochs.push_back(epoch);
  return epochs;
}

std::vector<EpochUse> LaneStates::needed_epochs() const {
  std::vector<EpochUse> needed;
  needed.reserve(runs_of_epoch_.size());
  for (const auto& [epoch, runs] : runs_of_epoch_)
    needed.push_back({.epoch = epoch, .live_bytes = 0});
  return needed;
}

std::vector<EpochUse> LaneStates::count_needed_epochs() const {
  std::map<Epoch, double> live;
  for (const auto& [id, lane] : lanes_) {
    for (const LaneRun& run : lane.runs) {
      const std::uint64_t all = run.last_seq + 1 - run.first_seq;
      const std::uint64_t left = all - lane.settled.count({run.first_seq, run.last_seq + 1});
      live[run.epoch] += static_cast<double>(run.bytes) * static_cast<double>(left) /
                         static_cast<double>(run.entries);
    }
  }
  std::vector<EpochUse> needed;
  needed.reserve(live.size());
  for (const auto& [epoch, bytes] : live)
    needed.push_back({.epoch = epoch, .live_bytes = static_cast<std::uint64_t>(bytes)});
  return needed;
}

void LaneStates::forget_dropped_before(Epoch oldest) {
  std::erase_if(dropped_, [oldest](const auto& entry) { return entry.second < oldest; });
}

bool LaneStates::check_invariants() const {
  EpochCounts runs;
  EpochCounts bodies;
  for (const auto& [id, lane] : lanes_) {
    if (lane.id != id) return false;
    if (lane.next_seq < lane.settled.end()) return false;
    Sequence above = lane.settled.floor();
    for (const SequenceRange& range : lane.settled.ranges()) {
      if (range.begin <= above || range.end <= range.begin) return false;
      above = range.end;
    }
    for (const LaneRun& run : lane.runs) {
      ++runs[run.epoch];
      if (!run.bodies.empty()) ++bodies[run.epoch];
    }
    for (const BodyUse& use : lane.bodies)
      ++bodies[use.epoch];
    if (!std::is_sorted(lane.bodies.begin(), lane.bodies.end())) return false;
  }
  return runs == runs_of_epoch_ && bodies == bodies_of_epoch_;
}

}  // namespace harrier
