#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "broker/core/arguments.h"
#include "broker/core/definitions.h"
#include "broker/core/queue_settings.h"
#include "protocol/value.h"

namespace harrier {

// What may be set on a queue, by its declaration and by policies: one row for each argument. A new
// one is one more row.

struct QueueArgument;

// Nothing, or what is wrong as RabbitMQ prints it: {tag,value}, an atom, or a string in quotes.
using ArgumentFault = std::optional<std::string>;
using ValueCheck = ArgumentFault (*)(const QueueArgument& row, const Value& value);
using DeclarationCheck = ArgumentFault (*)(const QueueDefinition& queue);

// How argument, policy and operator policy become one value.
enum class Merge : std::uint8_t {
  declared_only,   // the argument; policies cannot set it
  smallest,        // of those given
  smallest_limit,  // likewise, a negative one is no limit
  first,           // the operator policy's, else the argument, else the policy's
};

struct QueueArgument {
  std::string_view key;        // a policy's is the same without "x-"
  ValueCheck check = nullptr;  // null: any value will do
  QueueTypeSet accepted_by = 0;
  Merge merge = Merge::declared_only;
  bool in_operator_policies = false;
  std::string_view noun = {};  // of a policy's error: "... is not a valid message TTL"
  // What it sets, given a value that `check` has passed; null where it has no effect.
  void (*set)(const Value& value, QueueSettings& settings) = nullptr;
  std::int64_t min = 0;  // range of integers, for the checks that look at it
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  DeclarationCheck fits = nullptr;  // beside the other arguments

  std::string_view policy_key() const { return key.substr(2); }
};

// In the order in which RabbitMQ validates and compares them; those of Harrier alone come last.
std::span<const QueueArgument> queue_arguments();

// Null when there is none.
const QueueArgument* find_queue_argument(std::string_view key);
const QueueArgument* find_policy_key(std::string_view policy_key);

inline constexpr std::string_view kQueueTypeKey = "x-queue-type";
inline constexpr std::string_view kDeadLetterExchangeKey = "x-dead-letter-exchange";
inline constexpr std::string_view kDeadLetterQueueKey = "x-dead-letter-queue";

}  // namespace harrier
