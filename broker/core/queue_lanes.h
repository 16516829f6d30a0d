#pragma once

#include <cstdint>

#include "broker/core/definitions.h"
#include "broker/core/queue_settings.h"

namespace harrier {

// How many lanes the levels of a durable queue take, beginning with definition.lane: one for each
// priority. Its delayed messages have another, definition.delay_lane.
inline std::uint32_t lane_count(const QueueDefinition& queue) {
  return 1U + settings_of(queue, nullptr, nullptr).max_priority;
}

}  // namespace harrier
