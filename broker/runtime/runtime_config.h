#pragma once

#include <cstdint>

#include "broker/runtime/resource_limits.h"

namespace harrier {

struct RuntimeConfig {
  // Threads that carry connections and queues, 1..64; 0 lets the broker choose by the processors
  // it may use.
  std::uint32_t shards = 0;

  // Octets that messages in queues may take in memory; what goes beyond is paged out.
  std::uint64_t queue_memory_bytes = std::uint64_t{64} << 20;

  ResourceConfig resources;
};

}  // namespace harrier
