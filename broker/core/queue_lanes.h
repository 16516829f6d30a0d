#pragma once

#include <cstdint>

#include "broker/core/definitions.h"
#include "broker/core/queue_settings.h"

namespace harrier {

// How many lanes the levels of a durable queue take, beginning with definition.lane: one for each
// priority. Besides those it has kDelayLanes, beginning with definition.delay_lane.
inline std::uint32_t lane_count(const QueueDefinition& queue) {
  return 1U + settings_of(queue, nullptr, nullptr).max_priority;
}

// One for what is delayed, one for retries that are due.
inline constexpr std::uint32_t kDelayLanes = 2;

inline LaneId retry_lane(const QueueDefinition& queue) {
  return LaneId{queue.delay_lane.value + 1};
}

}  // namespace harrier
