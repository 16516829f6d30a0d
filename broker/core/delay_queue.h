#pragma once

#include <string>
#include <string_view>

#include "broker/core/definitions.h"

namespace harrier {

// An exchange of type x-delayed-message keeps what is not due in a queue that no client can use: it
// comes and goes with the exchange, and belongs to no connection (405 for everybody). What is due
// leaves it as a dead letter would, but unchanged, and is routed by the exchange.

inline constexpr std::string_view kDelayedExchangeType = "x-delayed-message";

// At most 255 octets. Two exchanges with very long names may have the same, if their hashes meet.
std::string delay_queue_name(std::string_view exchange);

bool is_delay_queue(std::string_view queue);

// The exchange that a delay queue is of.
std::string delayed_exchange_of(const QueueDefinition& queue);

// What control is to create with `exchange`.
QueueDefinition delay_queue_of(const ExchangeDefinition& exchange, std::string_view vhost);

}  // namespace harrier
