#pragma once

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

std::string deadline_record_key(LaneId lane);

inline constexpr std::string_view kDeadlineRecords = "t";

// Nothing when the octets are not such a key.
std::optional<LaneId> decode_deadline_record(std::string_view key);

}  // namespace harrier
