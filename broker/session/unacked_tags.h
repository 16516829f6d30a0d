#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/sequence_window.h"
#include "broker/core/queue_handle.h"
#include "storage/store.h"

namespace harrier {

// A delivery the client has to settle.
struct UnackedDelivery {
  QueueRef queue;
  Sequence seq = 0;
  // Counts against the channel's global prefetch limit.
  bool limited = false;
  // Settled in a transaction that is not committed.
  bool in_tx = false;
  // When the client has had enough time to settle it.
  Timestamp deadline{};
};

// The channel's outstanding deliveries by delivery tag. Tags of no-ack deliveries are used up too.
using UnackedTags = SequenceWindow<UnackedDelivery, 32>;

}  // namespace harrier
