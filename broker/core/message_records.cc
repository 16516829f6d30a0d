#include "broker/core/message_records.h"

#include <algorithm>
#include <concepts>
#include <cstddef>

namespace harrier {
namespace {

template <std::unsigned_integral T>
void append_integer(T value, std::string& out) {
  for (std::size_t octet = sizeof(T); octet-- > 0;) {
    out.push_back(static_cast<char>(std::uint64_t{value} >> (8 * octet)));
  }
}

template <std::unsigned_integral T>
T take_integer(std::string_view& octets) {
  std::uint64_t value = 0;
  for (std::size_t octet = 0; octet < sizeof(T); ++octet) {
    value = value << 8 | static_cast<unsigned char>(octets[octet]);
  }
  octets.remove_prefix(sizeof(T));
  return static_cast<T>(value);
}

// Of lane and sequence in a key.
constexpr std::size_t kPlaceOctets = sizeof(std::uint32_t) + sizeof(Sequence);

std::string message_key(std::string_view kind, LaneId lane, Sequence seq) {
  std::string key(kind);
  append_integer(lane.value, key);
  append_integer(seq, key);
  return key;
}

}  // namespace

std::string deadline_record_key(LaneId lane) {
  std::string key(kDeadlineRecords);
  append_integer(lane.value, key);
  return key;
}

std::optional<LaneId> decode_deadline_record(std::string_view key) {
  if (key.size() != kDeadlineRecords.size() + sizeof(std::uint32_t)) return std::nullopt;
  key.remove_prefix(kDeadlineRecords.size());
  return LaneId{take_integer<std::uint32_t>(key)};
}

std::string count_record_key(LaneId lane, Sequence seq) {
  return message_key(kCountRecords, lane, seq);
}

std::string count_record(std::uint32_t count) {
  std::string value;
  append_integer(count, value);
  return value;
}

std::optional<CountRecord> decode_count_record(std::string_view key, std::string_view value) {
  if (key.size() != kCountRecords.size() + kPlaceOctets) return std::nullopt;
  if (value.size() != sizeof(std::uint32_t)) return std::nullopt;
  key.remove_prefix(kCountRecords.size());
  CountRecord record;
  record.lane = LaneId{take_integer<std::uint32_t>(key)};
  record.seq = take_integer<Sequence>(key);
  record.count = take_integer<std::uint32_t>(value);
  return record;
}

std::string delay_record_key(LaneId lane, Sequence seq) {
  return message_key(kDelayRecords, lane, seq);
}

std::string delay_record(const DelayRecord& delayed) {
  std::string value;
  append_integer(static_cast<std::uint64_t>(delayed.due.time_since_epoch().count()), value);
  append_integer(delayed.count, value);
  append_integer(delayed.body_bytes, value);
  value += delayed.cancel_key;
  return value;
}

std::optional<DelayRecord> decode_delay_record(std::string_view key, std::string_view value) {
  constexpr std::size_t kFixedOctets = sizeof(std::uint64_t) + 2 * sizeof(std::uint32_t);
  if (key.size() != kDelayRecords.size() + kPlaceOctets) return std::nullopt;
  if (value.size() < kFixedOctets) return std::nullopt;
  key.remove_prefix(kDelayRecords.size());
  DelayRecord record;
  record.lane = LaneId{take_integer<std::uint32_t>(key)};
  record.seq = take_integer<Sequence>(key);
  record.due =
      Timestamp(Milliseconds(static_cast<std::int64_t>(take_integer<std::uint64_t>(value))));
  record.count = take_integer<std::uint32_t>(value);
  record.body_bytes = take_integer<std::uint32_t>(value);
  record.cancel_key = value;
  return record;
}

std::string key_record_key(LaneId queue, const DeduplicationKey& key) {
  std::string octets(kKeyRecords);
  append_integer(queue.value, octets);
  octets.append(key.begin(), key.end());
  return octets;
}

std::string key_record(const KeyRecord& record) {
  std::string value;
  append_integer(record.id, value);
  append_integer(static_cast<std::uint64_t>(record.since.time_since_epoch().count()), value);
  append_integer(record.body_bytes, value);
  append_integer(record.settings, value);
  append_integer(static_cast<std::uint64_t>(record.expires_at.time_since_epoch().count()), value);
  return value;
}

std::optional<KeyRecord> decode_key_record(std::string_view key, std::string_view value) {
  KeyRecord record;
  if (key.size() != kKeyRecords.size() + sizeof(std::uint32_t) + record.key.size()) {
    return std::nullopt;
  }
  if (value.size() != 3 * sizeof(std::uint64_t) + 2 * sizeof(std::uint32_t)) return std::nullopt;
  key.remove_prefix(kKeyRecords.size());
  record.queue = LaneId{take_integer<std::uint32_t>(key)};
  std::copy(key.begin(), key.end(), record.key.begin());
  record.id = take_integer<Sequence>(value);
  record.since =
      Timestamp(Milliseconds(static_cast<std::int64_t>(take_integer<std::uint64_t>(value))));
  record.body_bytes = take_integer<std::uint32_t>(value);
  record.settings = take_integer<std::uint32_t>(value);
  record.expires_at =
      Timestamp(Milliseconds(static_cast<std::int64_t>(take_integer<std::uint64_t>(value))));
  return record;
}

}  // namespace harrier
