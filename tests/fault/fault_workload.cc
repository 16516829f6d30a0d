#include "fault_workload.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/core.h>

namespace harrier::test {

namespace {

constexpr std::size_t kLanes = 10;
constexpr std::size_t kLiveMax = 1500;
constexpr std::size_t kSparseLiveMax = 10;
constexpr std::size_t kLargeMax = 8;    // they cost time
constexpr std::size_t kUploadsMax = 4;  // at a time
constexpr std::size_t kMiB = 1 << 20;

}  // namespace

const Submission& FaultWorkload::next() {
  Submission& batch = history_.emplace_back();
  batch.number = ++number_;
  batch.submitter = static_cast<std::uint32_t>(below(kSubmitters));
  batch.leaves_trace = below(15) != 0;
  if (batch.leaves_trace) {
    fill(batch);
    join_group(batch);
  } else {
    fill_without_trace(batch);
  }
  batch.ticket = ++tickets_[batch.submitter];
  batch.want_sync = below(3) == 0;
  return batch;
}

void FaultWorkload::fill(Submission& batch) {
  const bool is_crowded = live() > (is_sparse_ ? kSparseLiveMax : kLiveMax);
  send_ahead(batch);
  for (std::uint64_t steps = 1 + below(30); steps > 0; --steps) {
    const std::uint64_t dice = below(100);
    if (dice < 3) {
      fan_out(batch, shared_put());
    } else if (dice < (is_crowded ? 30 : 49)) {
      put(batch);
    } else if (dice < 94) {
      settle(batch);
    } else {
      record(batch);
    }
  }
  add(batch, {.kind = Step::Kind::put_record,
              .key = progress_key(batch.submitter),
              .value = std::to_string(batch.number)});
}

// Nothing of such a batch is ever written.
void FaultWorkload::fill_without_trace(Submission& batch) {
  put(batch);
  const Step entry = batch.steps.back();
  add(batch, {.kind = Step::Kind::settle,
              .lane = entry.lane,
              .seq = entry.seq,
              .bytes = entry.entry.is_transient ? 0 : entry.entry.bytes,
              .count = entry.entry.is_transient ? 0U : 1U});
}

// A group lasts until its second or third batch, mostly the next ones.
void FaultWorkload::join_group(Submission& batch) {
  if (open_group_ == 0) {
    if (below(8) != 0) return;
    open_group_ = ++group_;
    groups_[open_group_].parts = 2 + static_cast<std::uint32_t>(below(2));
    groups_[open_group_].fan_out = shared_put();
  } else if (below(3) == 0) {
    return;
  }
  Group& group = groups_[open_group_];
  batch.group = open_group_;
  batch.parts = group.parts;
  group.numbers.push_back(batch.number);
  fan_out(batch, group.fan_out);
  if (group.numbers.size() == group.parts) open_group_ = 0;
}

void FaultWorkload::add(Submission& batch, Step step) {
  if (step.lane != 0) known_lanes_.insert(step.lane);
  batch.steps.push_back(std::move(step));
  Submission one;
  one.steps.push_back(batch.steps.back());
  ahead_.apply(one);
}

void FaultWorkload::put(Submission& batch) {
  const std::uint32_t id = pick_lane();
  Sequence seq = ahead_.lanes[id].next_seq;
  if (below(10) == 0) seq += below(4);  // transient messages take sequences too
  const bool is_huge = below(2000) == 0 && large() < kLargeMax;
  const std::uint64_t size = is_huge                             ? kMiB + below(kMiB)
                             : below(is_sparse_ ? 15 : 300) == 0 ? 20'000 + below(100'000)
                             : below(20) == 0                    ? below(8000)
                                                                 : below(100);
  Step put{.kind = Step::Kind::put, .lane = id, .seq = seq};
  put.entry = {.bytes = static_cast<std::uint32_t>(size), .is_transient = below(12) == 0};
  add(batch, std::move(put));
}

// A message for several lanes, large enough that its body may be written once for all. Often one
// whose body went ahead; now and then not all of that did.
Step FaultWorkload::shared_put() {
  if (!uploads_.empty()) {
    const std::size_t index = below(uploads_.size());
    const Upload& upload = uploads_[index];
    const bool is_complete = upload.sent == upload.put.entry.bytes;
    if (below(is_complete ? 1 + upload.pace : 100) == 0) return take_upload(index);
  }
  Step put{.kind = Step::Kind::put};
  put.entry = {.bytes = 128 + static_cast<std::uint32_t>(below(below(10) == 0 ? 20'000 : 1500)),
               .shared = ++shared_,
               .is_transient = below(12) == 0};
  put.message = message_of(0, 0, put.entry);
  return put;
}

// Some batches carry parts of bodies whose messages are put later, or never.
void FaultWorkload::send_ahead(Submission& batch) {
  if (uploads_.size() < kUploadsMax && large() < kLargeMax && below(30) == 0) begin_upload();
  for (Upload& upload : uploads_) {
    if (upload.sent < upload.put.entry.bytes && below(upload.pace) == 0) send_part(batch, upload);
  }
  if (uploads_.empty() || below(100) != 0) return;
  add(batch, {.kind = Step::Kind::unstage, .message = take_upload(0).message});
}

void FaultWorkload::begin_upload() {
  std::size_t bytes = below(8) == 0 ? kMiB + below(2 * kMiB) : 1 + below(3 * kBodyPartUnit);
  if (below(4) == 0) bytes = (bytes / kBodyPartUnit + 1) * kBodyPartUnit;
  Step put{.kind = Step::Kind::put};
  put.entry = {.bytes = static_cast<std::uint32_t>(bytes), .shared = ++shared_};
  put.message = message_of(0, 0, put.entry);
  put.message->set_stored_body(BodyNumber{shared_});
  uploads_.push_back({.put = std::move(put), .pace = 1 + below(below(3) == 0 ? 60 : 3)});
}

void FaultWorkload::send_part(Submission& batch, Upload& upload) {
  const std::size_t left = upload.put.entry.bytes - upload.sent;
  const std::size_t octets = std::min(left, kBodyPartUnit * (1 + below(4)));
  add(batch, {.kind = Step::Kind::stage,
              .message = upload.put.message,
              .offset = upload.sent,
              .octets = octets});
  upload.sent += octets;
}

Step FaultWorkload::take_upload(std::size_t index) {
  Step put = std::move(uploads_[index].put);
  uploads_.erase(uploads_.begin() + static_cast<std::ptrdiff_t>(index));
  return put;
}

void FaultWorkload::fan_out(Submission& batch, Step put) {
  std::set<std::uint32_t> lanes;
  for (std::uint64_t count = 1 + below(6); count > 0; --count)
    lanes.insert(pick_lane());
  for (const std::uint32_t lane : lanes) {
    put.lane = lane;
    put.seq = ahead_.lanes[lane].next_seq;
    add(batch, put);
  }
  const bool is_staged = put.message->stored_body() != BodyNumber{};
  if (is_staged && below(2) == 0) {
    add(batch, {.kind = Step::Kind::unstage, .message = put.message});
  }
}

void FaultWorkload::settle(Submission& batch) {
  const std::uint32_t id = pick_lane();
  const LaneModel& lane = ahead_.lanes[id];
  const std::uint64_t dice = below(is_sparse_ ? 60 : 300);
  if (dice == 0) {
    add(batch, {.kind = Step::Kind::drop_lane, .lane = id});
  } else if (dice < 4) {
    Step purge{.kind = Step::Kind::settle_all, .lane = id, .seq = lane.next_seq};
    purge.begin = lane.live.empty() ? lane.next_seq : lane.live.begin()->first;
    purge.count = static_cast<std::uint32_t>(lane.live.size());
    for (const auto& [seq, entry] : lane.live)
      purge.bytes += entry.bytes;
    add(batch, std::move(purge));
  } else if (dice < 8) {
    // A transient one that never was put; or one that was.
    const Sequence seq = lane.transient.empty() ? lane.next_seq : *lane.transient.begin();
    add(batch, {.kind = Step::Kind::settle, .lane = id, .seq = seq});
  } else if (dice < 14) {
    add(batch, {.kind = Step::Kind::deliver_all, .lane = id, .seq = lane.next_seq});
  } else if (!lane.live.empty()) {
    // Mostly the oldest or the newest; often the newest is not written yet.
    const std::uint64_t where = below(4);
    auto entry = lane.live.begin();
    if (where == 0) std::advance(entry, below(lane.live.size()));
    if (where == 1) entry = std::prev(lane.live.end());
    add(batch, {.kind = Step::Kind::settle,
                .lane = id,
                .seq = entry->first,
                .bytes = entry->second.bytes,
                .count = 1});
  }
}

void FaultWorkload::record(Submission& batch) {
  const std::string key = fmt::format("record{}", below(20));
  if (below(3) == 0) {
    add(batch, {.kind = Step::Kind::delete_record, .key = key});
  } else {
    add(batch,
        {.kind = Step::Kind::put_record, .key = key, .value = std::to_string(below(1'000'000))});
  }
}

std::uint32_t FaultWorkload::pick_lane() {
  while (ahead_.lanes.size() < kLanes)
    ahead_.lanes[next_lane_++];
  auto at = ahead_.lanes.begin();
  std::advance(at, below(ahead_.lanes.size()));
  return at->first;
}

std::size_t FaultWorkload::live() const {
  std::size_t count = 0;
  for (const auto& [id, lane] : ahead_.lanes)
    count += lane.live.size();
  return count;
}

std::size_t FaultWorkload::large() const {
  std::size_t count = 0;
  for (const auto& [id, lane] : ahead_.lanes) {
    count += static_cast<std::size_t>(std::ranges::count_if(
        lane.live, [](const auto& place) { return place.second.bytes > kBodyPartUnit; }));
  }
  return count;
}

std::vector<LaneId> FaultWorkload::lanes() const {
  std::set<std::uint32_t> all = known_lanes_;
  for (const auto& [id, lane] : base_.lanes)
    all.insert(id);
  std::vector<LaneId> ids;
  ids.reserve(all.size());
  for (const std::uint32_t id : all)
    ids.push_back(LaneId{id});
  return ids;
}

// The store must hold a prefix of what was submitted, with everything that was announced.
std::vector<std::string> FaultWorkload::judge(const Recovered& found,
                                              const std::vector<Ticket>& announced) {
  const std::uint64_t last = found.last_number();
  std::uint64_t announced_last = 0;
  StoreModel expected = base_;
  for (const Submission& batch : history_) {
    if (batch.number <= last) expected.apply(batch);
    if (batch.ticket <= announced[batch.submitter]) {
      ++confirmed_;
      if (batch.leaves_trace) announced_last = std::max(announced_last, batch.number);
    }
  }
  std::vector<std::string> wrong;
  if (announced_last > last) {
    wrong.push_back(fmt::format("the store ends with batch {}, {} was announced and is lost", last,
                                announced_last));
  }
  std::ranges::move(compare(expected, found), std::back_inserter(wrong));
  std::ranges::move(judge_groups(last), std::back_inserter(wrong));
  if (!wrong.empty()) return wrong;

  for (auto& [id, lane] : expected.lanes) {
    const auto next = found.next_seq.find(id);
    if (next != found.next_seq.end()) lane.next_seq = next->second;
    lane.transient.clear();
  }
  base_ = std::move(expected);
  ahead_ = base_;
  large_found_ += large();
  history_.clear();
  known_lanes_.clear();
  uploads_.clear();
  groups_.clear();
  open_group_ = 0;
  is_sparse_ = below(3) == 0;
  std::ranges::fill(tickets_, 0);
  return wrong;
}

void FaultWorkload::forget_open_group() {
  groups_.erase(open_group_);
}

std::vector<std::string> FaultWorkload::judge_groups(std::uint64_t last) const {
  std::vector<std::string> wrong;
  for (const auto& [id, group] : groups_) {
    if (group.numbers.front() > last) continue;
    if (group.numbers.size() == group.parts && group.numbers.back() <= last) continue;
    wrong.push_back(
        fmt::format("of group {} only some of the {} parts are there", id, group.parts));
  }
  return wrong;
}

}  // namespace harrier::test
