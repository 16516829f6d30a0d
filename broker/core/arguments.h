#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "broker/core/definitions.h"
#include "protocol/field_table.h"
#include "protocol/reply_code.h"

namespace harrier {

// When queue.declare and exchange.declare are valid, and when two declarations are the same. Which
// arguments there are: queue_argument_table.h.

enum class QueueType : std::uint8_t {
  classic,
  quorum,
  stream
};

// "classic", "quorum", "stream": what x-queue-type holds.
std::string_view queue_type_name(QueueType type);
// What an x-queue-type string means; "" is the default type. Nothing for an unknown one.
std::optional<QueueType> queue_type_from(std::string_view name);
// Of a queue whose arguments were validated.
QueueType queue_type_of(const QueueDefinition& queue);

// A set of queue types.
using QueueTypeSet = std::uint8_t;

constexpr QueueTypeSet queue_type_set(QueueType type) {
  return static_cast<QueueTypeSet>(1U << static_cast<unsigned>(type));
}

// queue.declare of a queue that does not exist yet. PRECONDITION_FAILED for an argument that is
// known and wrong, or known for other queue types only, and for properties that the queue type
// cannot have. Unknown arguments are accepted, as in RabbitMQ.
Result<void, ProtocolError> validate_new_queue(const QueueDefinition& queue,
                                               std::string_view vhost);

// queue.declare of a queue that exists, rule "equivalent": durable, auto_delete, then every
// argument that the existing queue's type accepts; integers by value whatever their width. Its
// exclusivity is checked by the caller, because it comes first and is another error.
Result<void, ProtocolError> check_equivalence(const QueueDefinition& existing,
                                              const QueueDefinition& wanted,
                                              std::string_view vhost);

inline constexpr std::string_view kAlternateExchange = "alternate-exchange";

// Name of the alternate exchange, empty when there is none.
std::string_view alternate_exchange(const FieldTable& exchange_arguments);

// exchange.declare of an exchange that does not exist yet: PRECONDITION_FAILED.
Result<void, ProtocolError> validate_new_exchange(const ExchangeDefinition& exchange,
                                                  std::string_view vhost);

// exchange.declare of an exchange that exists, rule "equivalent": type, durable, auto_delete,
// internal and the alternate exchange; RabbitMQ compares no other argument.
Result<void, ProtocolError> check_equivalence(const ExchangeDefinition& existing,
                                              const ExchangeDefinition& wanted,
                                              std::string_view vhost);

// Octets that are equal for two tables exactly when both hold the same keys and values with the
// same wire types, in whatever order: the part of a binding's identity that is a table.
std::string canonical_arguments(const FieldTable& arguments);

}  // namespace harrier
