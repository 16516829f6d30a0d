#pragma once

#include <cstdint>

#include "base/strong_id.h"

namespace harrier {

// A queue of this broker run or a durable one of any run. Never reused.
using QueueId = StrongId<struct QueueIdTag, std::uint64_t>;

// A network connection of this broker run. 0 = none (the owner of a queue that is not exclusive).
using ConnectionId = StrongId<struct ConnectionIdTag, std::uint64_t>;

// One of the broker's threads, 0 .. shards - 1.
using ShardIndex = std::uint16_t;

}  // namespace harrier
