#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/message.h"
#include "broker/core/dead_letter.h"

namespace harrier {

// What dead-lettering does to a message: its history goes into the headers x-death, x-first-death-*
// and x-last-death-*, as in RabbitMQ 4.

// "rejected", "expired", "maxlen", "delivery_limit"; "due", which is no death.
std::string_view death_reason_name(DeathReason reason);

// Where the dead of a queue go.
struct DeadLetterTarget {
  std::string exchange;
  std::optional<std::string> routing_key;  // none: those of the message
};

struct Death {
  std::string_view queue;  // in which it happened
  DeathReason reason;
  Timestamp at;
};

// The message as it goes to `target`: without expiration, `death` being the newest entry of its
// history. A history that a client sent counts for nothing and is replaced.
MessageRef dead_copy(const Message& message, const Death& death, const DeadLetterTarget& target);

// The message as it goes on when its delay is over: with a negative x-delay, as RabbitMQ's plugin
// leaves it, so that it is delayed no more.
MessageRef due_copy(const Message& message);

// Whether a message died in `queue`, of the same virtual host, before it came where it is.
bool died_in(const Message& message, std::string_view queue);

// Whether a dead copy would run in circles in `queue`: it died there before, and no consumer has
// rejected it since.
bool runs_in_circles(const Message& dead_copy, std::string_view queue);

}  // namespace harrier
