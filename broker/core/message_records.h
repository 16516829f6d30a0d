#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/store.h"

namespace harrier {

// What the store keeps about messages besides the messages: records (storage/store.h) that come and
// go in the same batch as what they speak of. Integers are big endian.
//
// OFFSET  SIZE  DESCRIPTION
//               messages of the lane may have a deadline: their queue has to look at them in time
// key 0   1     't'
// 1       4     lane
// value         empty
//               delivery count of a message, 0 where there is no record
// key 0   1     'c'
// 1       4     lane
// 5       8     sequence
// value 0 4     count
//               a persistent message that is delayed, in the delay lane of a durable queue
// key 0   1     'd'
// 1       4     lane
// 5       8     sequence
// value 0 8     when it is due, ms since 1970
// 8       4     delivery count, 0 for one that was not delivered yet
// 12      4     octets of its body
// 16      rest  its cancel key, none where it has none
//               a message with this key stands in the way of others with it
// key 0   1     'k'
// 1       4     lane of priority 0 of its queue
// 5       16    digest of the key
// value 0 8     the message: its priority in the highest octet, its sequence in the others; 0 when
//               it is gone and somebody may ask
// 8       8     since when, in milliseconds since 1970
// 16      4     octets of its body

std::string deadline_record_key(LaneId lane);

inline constexpr std::string_view kDeadlineRecords = "t";

std::string count_record_key(LaneId lane, Sequence seq);
std::string count_record(std::uint32_t count);

inline constexpr std::string_view kCountRecords = "c";

struct CountRecord {
  LaneId lane;
  Sequence seq = 0;
  std::uint32_t count = 0;
};

// What makes two messages the same to a queue, as a digest (queue_parts/deduplication.h).
using DeduplicationKey = std::array<std::uint8_t, 16>;

struct KeyRecord {
  LaneId queue;
  DeduplicationKey key{};
  Sequence id = 0;
  Timestamp since{};
  std::uint32_t body_bytes = 0;
  std::uint32_t settings = 0;  // a fingerprint of those it was recorded under
  Timestamp expires_at = kNoTime;
};

std::string key_record_key(LaneId queue, const DeduplicationKey& key);
std::string key_record(const KeyRecord& record);

inline constexpr std::string_view kKeyRecords = "k";

// Nothing when the octets are not such a record.
std::optional<CountRecord> decode_count_record(std::string_view key, std::string_view value);
std::optional<LaneId> decode_deadline_record(std::string_view key);
std::optional<KeyRecord> decode_key_record(std::string_view key, std::string_view value);

struct DelayRecord {
  LaneId lane;
  Sequence seq = 0;
  Timestamp due;
  std::uint32_t count = 0;
  std::uint32_t body_bytes = 0;
  std::string cancel_key;
};

inline constexpr std::string_view kDelayRecords = "d";

std::string delay_record_key(LaneId lane, Sequence seq);
std::string delay_record(const DelayRecord& delayed);
std::optional<DelayRecord> decode_delay_record(std::string_view key, std::string_view value);

}  // namespace harrier
