#pragma once

#include <cstdint>

#include "broker/core/definitions.h"
#include "broker/core/queue_settings.h"

namespace harrier {

// How many lanes a durable queue takes, beginning with definition.lane: one for each priority.
inline std::uint32_t lane_count(const QueueDefinition& queue) {
  return 1U + settings_of(queue, nullptr, nullptr).max_priority;
}

}  // namespace harrier
