#pragma once

#include <cstdint>

#include "base/clock.h"
#include "broker/core/consumer.h"
#include "broker/core/queue_settings.h"

namespace harrier {

// Whether a message that came back so waits before its next delivery.
bool is_retried_later(RetryType type, Settlement how);

// How long, after its `count`th delivery in vain (from 1 on). `chance`, within 0 and 1, says how
// much of the jitter is taken off.
Milliseconds retry_delay(const RetrySettings& retry, std::uint32_t count, double chance);

}  // namespace harrier
