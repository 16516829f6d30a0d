#include "workload.h"

#include <algorithm>
#include <utility>

namespace harrier::test {

std::uint64_t progress_of(const Content& content) {
  const auto found = content.records.find("progress");
  return found == content.records.end() ? 0 : std::stoull(found->second);
}

Workload::Workload(std::uint64_t seed, const Content& start, std::uint32_t first_lane)
    : random_(seed), next_lane_(first_lane), progress_(progress_of(start)) {
  for (const auto& [lane, next_seq] : start.next_seq)
    lanes_[lane].next_seq = next_seq;
  for (const auto& [place, entry] : start.entries) {
    lanes_[place.first].live.push_back(place.second);
  }
  accounts_.take_over(start);
  while (lanes_.size() < kLanes)
    lanes_[next_lane_++];
}

std::vector<LaneId> Workload::lanes() const {
  std::vector<LaneId> ids;
  for (const auto& [id, lane] : lanes_)
    ids.push_back(LaneId{id});
  return ids;
}

PageRequest Workload::page() {
  PageRequest request;
  const Lane& lane = pick(request.lane);
  request.from = below(lane.next_seq + 1);
  request.end = request.from + 1 + below(below(2) == 0 ? 20 : lane.next_seq);
  request.bytes_max = below(2) == 0 ? below(5000) : 1 << 20;
  return request;
}

StoreBatch Workload::next() {
  StoreBatch batch;
  const std::uint64_t steps = 1 + below(40);
  for (std::uint64_t i = 0; i < steps; ++i) {
    const std::uint64_t dice = below(100);
    if (dice < 50) {
      put(batch);
    } else if (dice < 94) {
      settle(batch);
    } else {
      record(batch);
    }
  }
  batch.put_record("progress", std::to_string(++progress_));
  if (below(3) == 0) batch.want_sync();
  return batch;
}

void Workload::put(StoreBatch& batch) {
  const std::uint64_t dice = below(2000);
  const bool is_fan_out = below(20) == 0;
  const bool is_shared = is_fan_out && below(2) == 0;  // with a body that is worth it
  const std::uint64_t size = dice == 0                 ? 1'100'000
                             : dice < 10               ? 100'000
                             : dice < 100 || is_shared ? below(8000)
                                                       : below(100);
  auto message =
      Message::create({.exchange = below(2) == 0 ? "" : "logs",
                       .routing_key = "key" + std::to_string(below(3)),
                       .properties = std::string(below(20), static_cast<char>('a' + below(26))),
                       .persistent = below(8) != 0,
                       .priority = static_cast<std::uint8_t>(below(3)),
                       .ttl_ms = below(4) == 0 ? static_cast<std::int64_t>(below(100'000)) : -1},
                      std::string(size, static_cast<char>('a' + below(26))));
  const Timestamp now{Milliseconds(1'700'000'000'000 + static_cast<std::int64_t>(below(1000)))};
  const Timestamp expires = below(4) == 0 ? now + Milliseconds(below(100'000)) : kNoTime;
  if (dice < 40 && message->persistent()) message = stage(batch, std::move(message));
  LaneId id;
  if (is_fan_out) {
    for (auto& [number, lane] : lanes_)
      append(batch, LaneId{number}, lane, message, now, expires);
  } else {
    Lane& lane = pick(id);
    append(batch, id, lane, message, now, expires);
  }
}

// Sends the body of `message` ahead. What is put now is a message whose body went ahead earlier.
MessageRef Workload::stage(StoreBatch& batch, MessageRef message) {
  const BodyNumber body{random_() | 1};
  const std::size_t bytes = message->body().size();
  for (std::size_t at = 0; at < bytes; at += kBodyPartUnit)
    batch.stage(body, message, at, std::min(kBodyPartUnit, bytes - at));
  message->set_stored_body(body);
  if (below(10) == 0) batch.unstage(body);
  if (ahead_.size() < 4) {
    ahead_.push_back(message);
    return message;
  }
  return std::exchange(ahead_[below(ahead_.size())], std::move(message));
}

void Workload::append(StoreBatch& batch, LaneId id, Lane& lane, const MessageRef& message,
                      Timestamp now, Timestamp expires) {
  if (below(10) == 0) lane.next_seq += below(4);  // transient messages that are not paged out
  accounts_.put(batch, id, lane.next_seq, message, now, expires);
  lane.live.push_back(lane.next_seq++);
}

void Workload::settle(StoreBatch& batch) {
  LaneId id;
  Lane& lane = pick(id);
  const std::uint64_t dice = below(200);
  if (dice == 0) {
    accounts_.drop(batch, id);
    lanes_.erase(id.value);
    lanes_[next_lane_++];
  } else if (dice < 3) {
    accounts_.settle_range(batch, id, 1, lane.next_seq);
    lane.live.clear();
  } else if (dice < 6) {
    batch.settle(id, lane.next_seq++, {});  // was never put
  } else if (dice < 9 && !lane.live.empty()) {
    const std::size_t first = below(lane.live.size());
    const std::size_t last = first + below(std::min<std::size_t>(50, lane.live.size() - first));
    accounts_.settle_range(batch, id, lane.live[first], lane.live[last] + 1);
    lane.live.erase(lane.live.begin() + static_cast<std::ptrdiff_t>(first),
                    lane.live.begin() + static_cast<std::ptrdiff_t>(last) + 1);
  } else if (dice < 12) {
    batch.delivered_below(id, lane.next_seq);
  } else if (!lane.live.empty()) {
    // Mostly the oldest or the newest; often the newest is not written yet.
    const std::uint64_t where = below(4);
    const std::size_t last = lane.live.size() - 1;
    const std::size_t at = where == 0 ? below(last + 1) : where == 1 ? last : 0;
    accounts_.settle(batch, id, lane.live[at]);
    lane.live.erase(lane.live.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

void Workload::record(StoreBatch& batch) {
  const std::string key = "record" + std::to_string(below(20));
  if (below(3) == 0) {
    batch.delete_record(key);
  } else {
    batch.put_record(key, std::to_string(below(1'000'000)));
  }
}

Workload::Lane& Workload::pick(LaneId& id) {
  auto at = lanes_.begin();
  std::advance(at, static_cast<std::ptrdiff_t>(below(lanes_.size())));
  id = LaneId{at->first};
  return at->second;
}

}  // namespace harrier::test
