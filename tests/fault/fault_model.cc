#include "fault_model.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "tests/unit/storage/store_support.h"

namespace harrier::test {

namespace {

constexpr std::string_view kProgress = "progress-";
constexpr std::string_view kSharedKey = "shared.";
constexpr std::string_view kIsLost = " is lost";
constexpr std::size_t kComplaintsMax = 5;
constexpr std::size_t kStampEvery = 4096;

Timestamp enqueued_at(Sequence seq) {
  return Timestamp{Milliseconds(1'700'000'000'000 + static_cast<std::int64_t>(seq * 37 % 1000))};
}

Timestamp expires_at(Sequence seq) {
  return seq % 4 == 0 ? enqueued_at(seq) + Milliseconds(seq * 101 % 100'000) : kNoTime;
}

bool same(const Message& a, const Message& b) {
  return a.exchange() == b.exchange() && a.routing_key() == b.routing_key() &&
         a.properties() == b.properties() && a.body() == b.body() &&
         a.persistent() == b.persistent() && a.priority() == b.priority() &&
         a.ttl_ms() == b.ttl_ms();
}

// What a stored message must be, as far as it tells itself.
EntryModel entry_of(const Message& message) {
  EntryModel entry{.bytes = static_cast<std::uint32_t>(message.body().size()),
                   .shared = 0,
                   .is_transient = !message.persistent()};
  std::string_view key = message.routing_key();
  if (key.starts_with(kSharedKey)) {
    key.remove_prefix(kSharedKey.size());
    std::from_chars(key.data(), key.data() + key.size(), entry.shared);
  }
  return entry;
}

void add(const Step& step, StoreBatch& batch) {
  const LaneId lane{step.lane};
  switch (step.kind) {
    case Step::Kind::put:
      batch.put(lane, step.seq,
                step.message ? step.message : message_of(step.lane, step.seq, step.entry),
                enqueued_at(step.seq), expires_at(step.seq));
      break;
    case Step::Kind::settle:
      batch.settle(lane, step.seq, {step.count, step.bytes});
      break;
    case Step::Kind::settle_all:
      batch.settle_range(lane, 1, step.seq, {step.count, step.bytes});
      break;
    case Step::Kind::drop_lane:
      batch.drop_lane(lane);
      break;
    case Step::Kind::deliver_all:
      batch.delivered_below(lane, step.seq);
      break;
    case Step::Kind::put_record:
      batch.put_record(step.key, step.value);
      break;
    case Step::Kind::delete_record:
      batch.delete_record(step.key);
      break;
    case Step::Kind::stage:
      batch.stage(step.message->stored_body(), step.message, step.offset, step.octets);
      break;
    case Step::Kind::unstage:
      batch.unstage(step.message->stored_body());
      break;
  }
}

// Tells bodies apart, and the parts of one.
std::string body_of(std::size_t bytes, std::uint64_t mix) {
  std::string body(bytes, static_cast<char>('a' + (mix >> 8) % 26));
  for (std::size_t at = 0; at < bytes; at += kStampEvery) {
    const std::string stamp = fmt::format("{:016x}", mix + at);
    body.replace(at, stamp.size(), stamp, 0, std::min(bytes - at, stamp.size()));
  }
  return body;
}

}  // namespace

StoreBatch to_batch(const Submission& submission) {
  StoreBatch batch;
  for (const Step& step : submission.steps)
    add(step, batch);
  if (submission.group != 0) batch.join_group(GroupId{submission.group}, submission.parts);
  if (submission.want_sync) batch.want_sync();
  return batch;
}

MessageRef message_of(std::uint32_t lane, Sequence seq, const EntryModel& entry) {
  const bool is_shared = entry.shared != 0;
  const std::uint64_t place = is_shared ? entry.shared : lane * 1'000'003ULL + seq;
  const std::uint64_t mix = place * 0x9E3779B97F4A7C15ULL;
  const auto chance = [mix](int shift, std::uint64_t n) { return (mix >> shift) % n; };
  const std::string shared_key = fmt::format("{}{}", kSharedKey, entry.shared);
  return Message::create({.exchange = chance(16, 2) == 0 ? "" : "logs",
                          .routing_key = is_shared            ? shared_key
                                         : chance(20, 2) == 0 ? "key"
                                                              : "other.key",
                          .properties = std::string(chance(24, 20), 'p'),
                          .persistent = !entry.is_transient,
                          .priority = static_cast<std::uint8_t>(chance(32, 3)),
                          .ttl_ms = chance(36, 4) == 0 ? 1000 : -1},
                         body_of(entry.bytes, mix));
}

void StoreModel::apply(const Submission& submission) {
  for (const Step& step : submission.steps) {
    if (step.kind == Step::Kind::stage || step.kind == Step::Kind::unstage) continue;
    if (step.kind == Step::Kind::put_record) {
      records[step.key] = step.value;
    } else if (step.kind == Step::Kind::delete_record) {
      records.erase(step.key);
    } else if (step.kind == Step::Kind::drop_lane) {
      lanes.erase(step.lane);
    } else {
      LaneModel& lane = lanes[step.lane];
      const bool is_one = step.kind == Step::Kind::put || step.kind == Step::Kind::settle;
      lane.next_seq = std::max(lane.next_seq, step.seq + (is_one ? 1 : 0));
      if (step.kind == Step::Kind::put && step.entry.is_transient) lane.transient.insert(step.seq);
      if (step.kind == Step::Kind::put && !step.entry.is_transient)
        lane.live[step.seq] = step.entry;
      if (step.kind == Step::Kind::settle) {
        lane.live.erase(step.seq);
        lane.transient.erase(step.seq);
      }
      if (step.kind == Step::Kind::settle_all) {
        lane.live.erase(lane.live.begin(), lane.live.lower_bound(step.seq));
        lane.transient.erase(lane.transient.begin(), lane.transient.lower_bound(step.seq));
      }
    }
  }
}

std::string progress_key(std::uint32_t submitter) {
  return std::string(kProgress) + std::to_string(submitter);
}

std::uint64_t Recovered::last_number() const {
  std::uint64_t last = 0;
  for (const auto& [key, value] : records) {
    if (key.starts_with(kProgress)) last = std::max<std::uint64_t>(last, std::stoull(value));
  }
  return last;
}

Result<Recovered, StoreError> read_back(Store& store, const std::vector<LaneId>& lanes,
                                        AfterCrash after) {
  Recovered found;
  found.all_redelivered = after == AfterCrash::yes;
  const auto scanned = store.scan_records(
      "", [&](std::string_view key, std::string_view value) { found.records.emplace(key, value); });
  if (!scanned) return fail(scanned.error());
  const auto recovered = store.recover_lanes(lanes);
  if (!recovered) return fail(recovered.error());
  for (const RecoveredLane& lane : *recovered) {
    found.next_seq[lane.lane.value] = lane.next_seq;
    found.tally[lane.lane.value] = lane.tally;
  }
  return found;
}

namespace {

void take(const StoredEntry& entry, Recovered& found) {
  const auto complain = [&](std::string_view what) {
    if (found.complaints.size() < kComplaintsMax) {
      found.complaints.push_back(
          fmt::format("lane {} entry {}: {}", entry.lane.value, entry.seq, what));
    }
  };
  auto& lane = found.entries[entry.lane.value];
  const EntryModel is = entry_of(*entry.message);
  if (!lane.empty() && lane.rbegin()->first >= entry.seq) complain("comes out of order");
  if (!lane.emplace(entry.seq, is).second) complain("comes twice");
  if (!same(*entry.message, *message_of(entry.lane.value, entry.seq, is))) {
    complain("has another content");
  }
  if (entry.enqueued_at != enqueued_at(entry.seq) || entry.expires_at != expires_at(entry.seq)) {
    complain("has other times");
  }
  if (found.all_redelivered && !entry.redelivered) complain("is not redelivered");
  if (entry.seq >= found.next_seq[entry.lane.value]) complain("is above next_seq");
}

void compare_tallies(Recovered& found) {
  for (const auto& [id, tally] : found.tally) {
    Tally counted;
    for (const auto& [seq, entry] : found.entries[id])
      counted += {1, entry.bytes};
    if (counted == tally) continue;
    found.complaints.push_back(
        fmt::format("lane {} has {} entries of {} octets, its counters say {} of {}", id,
                    counted.entries, counted.bytes, tally.entries, tally.bytes));
  }
}

}  // namespace

Result<void, StoreError> scan_entries(Store& store, Recovered& found) {
  const auto visited = store.scan_entries([&](StoredEntry&& entry) { take(entry, found); });
  if (!visited) return visited;
  compare_tallies(found);
  return {};
}

Result<void, StoreError> read_pages(Store& store, std::size_t page_bytes, Recovered& found) {
  for (const auto& [id, end] : found.next_seq) {
    for (Sequence at = 1; at < end;) {
      const PageRequest request{
          .lane = LaneId{id}, .from = at, .end = end, .bytes_max = page_bytes};
      const LanePage page = read_page(store, request);
      if (page.damage) return fail(*page.damage);
      for (const StoredEntry& entry : page.entries)
        take(entry, found);
      if (page.next <= at || page.next > end) {
        found.complaints.push_back(
            fmt::format("lane {}: a page from {} up to {} ends with {}", id, at, end, page.next));
        break;
      }
      at = page.next;
    }
  }
  compare_tallies(found);
  return {};
}

std::vector<std::string> compare(const StoreModel& expected, const Recovered& found) {
  std::vector<std::string> wrong = found.complaints;
  const auto complain = [&](std::string text) {
    if (wrong.size() < found.complaints.size() + kComplaintsMax) wrong.push_back(std::move(text));
  };
  for (const auto& [key, value] : expected.records) {
    const auto at = found.records.find(key);
    if (at == found.records.end()) {
      complain(fmt::format("record {}{}", key, kIsLost));
    } else if (at->second != value) {
      complain(fmt::format("record {} is {} instead of {}", key, at->second, value));
    }
  }
  for (const auto& [key, value] : found.records) {
    if (!expected.records.contains(key)) complain(fmt::format("record {} came back", key));
  }
  static const std::map<Sequence, EntryModel> none;
  for (const auto& [id, lane] : expected.lanes) {
    const auto at = found.entries.find(id);
    const auto& entries = at == found.entries.end() ? none : at->second;
    for (const auto& [seq, expected_entry] : lane.live) {
      const auto entry = entries.find(seq);
      if (entry == entries.end()) {
        complain(fmt::format("lane {} entry {}{}", id, seq, kIsLost));
      } else if (entry->second != expected_entry) {
        complain(fmt::format("lane {} entry {} is message {} of {} octets instead of {} of {}", id,
                             seq, entry->second.shared, entry->second.bytes, expected_entry.shared,
                             expected_entry.bytes));
      }
    }
    const auto next = found.next_seq.find(id);
    if (next != found.next_seq.end() && next->second < lane.next_seq) {
      complain(fmt::format("lane {} goes on from {}, below {}", id, next->second, lane.next_seq));
    }
  }
  for (const auto& [id, entries] : found.entries) {
    const auto lane = expected.lanes.find(id);
    for (const auto& [seq, entry] : entries) {
      if (lane == expected.lanes.end() || !lane->second.live.contains(seq)) {
        complain(fmt::format("lane {} entry {} came back or never was", id, seq));
      }
    }
  }
  return wrong;
}

bool tells_of_loss(const std::vector<std::string>& complaints) {
  return std::ranges::any_of(complaints,
                             [](const std::string& line) { return line.ends_with(kIsLost); });
}

}  // namespace harrier::test
