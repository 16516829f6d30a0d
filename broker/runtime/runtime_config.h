#pragma once

#include <cstdint>

namespace harrier {

struct RuntimeConfig {
  // Threads that carry connections and queues, 1..64; 0 lets the broker choose by the processors
  // it may use.
  std::uint32_t shards = 0;
};

}  // namespace harrier
