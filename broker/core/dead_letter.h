#pragma once

#include <cstdint>

#include "base/message.h"
#include "storage/store.h"

namespace harrier {

// Why a message left its queue without being acknowledged.
enum class DeathReason : std::uint8_t {
  rejected,        // by a consumer, without requeue
  expired,         // its TTL was over
  maxlen,          // the queue was full
  delivery_limit,  // returned once too often
  due,             // not dead: it waited in a delay queue, and goes on as it is
};

// A message on its way out of a queue that dead-letters.
struct DeadLetter {
  Sequence seq = 0;  // its place, which Queue::buried() ends; 0 when it never had one
  MessageRef message;
  DeathReason reason = DeathReason::rejected;
};

}  // namespace harrier
