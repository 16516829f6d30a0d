#include "broker/core/arguments.h"

#include <algorithm>
#include <initializer_list>

#include "base/bytes.h"
#include "broker/core/errors.h"
#include "broker/core/resource_names.h"

namespace harrier {
namespace {

using Check = Result<void, ProtocolError>;

constexpr std::string_view kQueueTypeKey = "x-queue-type";
constexpr std::string_view kDeadLetterExchangeKey = "x-dead-letter-exchange";

// Ten years: the longest time RabbitMQ takes, so that a deadline never overflows its timers.
constexpr std::int64_t kMillisecondsMax = 315'360'000'000;

constexpr QueueTypeSet kClassic = queue_type_set(QueueType::classic);
constexpr QueueTypeSet kQuorum = queue_type_set(QueueType::quorum);
constexpr QueueTypeSet kStream = queue_type_set(QueueType::stream);
constexpr QueueTypeSet kEveryType = kClassic | kQuorum | kStream;
// What this broker runs. A type outside is known, and refused when a queue is created.
constexpr QueueTypeSet kServedTypes = kClassic | kQuorum;

std::string join(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts)
    text += part;
  return text;
}

auto precondition_failed(std::string text) {
  return fail(ProtocolError{ReplyCode::precondition_failed, std::move(text)});
}

// `detail` is printed by RabbitMQ as an Erlang term: {tag,value}, an atom, or a string in quotes.
auto invalid(const ReceivedArgument& argument, std::string_view detail) {
  return precondition_failed(join({"invalid arg '", argument.known.key, "' for ",
                                   queue_text(argument.queue.name, argument.vhost), ": ", detail}));
}

auto invalid_number(const ReceivedArgument& argument, std::string_view tag, std::int64_t number) {
  return invalid(argument, join({"{", tag, ",", std::to_string(number), "}"}));
}

auto unacceptable_type(const ReceivedArgument& argument) {
  return invalid(argument, join({"{unacceptable_type,", type_name(argument.value), "}"}));
}

auto not_an_integer(const ReceivedArgument& argument) {
  return invalid(argument, join({"\"expected integer, got ", type_name(argument.value), "\""}));
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> choices) {
  return std::find(choices.begin(), choices.end(), text) != choices.end();
}

Check check_integer(const ReceivedArgument& argument) {
  const std::optional<std::int64_t> number = as_integer(argument.value);
  if (!number) return not_an_integer(argument);
  if (*number < 0) return invalid_number(argument, "value_negative", *number);
  if (*number < argument.known.min) return invalid_number(argument, "value_zero", *number);
  if (*number > argument.known.max) return invalid_number(argument, "value_too_large", *number);
  return {};
}

Check check_priority(const ReceivedArgument& argument) {
  const std::optional<std::int64_t> number = as_integer(argument.value);
  if (number && *number > argument.known.max) {
    return invalid_number(argument, "max_value_exceeded", *number);
  }
  return check_integer(argument);
}

Check check_boolean(const ReceivedArgument& argument) {
  if (!as_bool(argument.value)) return unacceptable_type(argument);
  return {};
}

Check check_dead_letter_exchange(const ReceivedArgument& argument) {
  if (as_string(argument.value) == nullptr) {
    return fail(invalid_argument_type(type_name(argument.value), argument.known.key,
                                      queue_text(argument.queue.name, argument.vhost)));
  }
  return {};
}

Check check_dead_letter_routing_key(const ReceivedArgument& argument) {
  if (as_string(argument.value) == nullptr) return unacceptable_type(argument);
  if (argument.queue.arguments.find(kDeadLetterExchangeKey) == nullptr) {
    return invalid(argument, "routing_key_but_no_dlx_defined");
  }
  return {};
}

Check check_dead_letter_strategy(const ReceivedArgument& argument) {
  const std::string* strategy = as_string(argument.value);
  if (strategy == nullptr) return unacceptable_type(argument);
  if (!is_one_of(*strategy, {"at-most-once", "at-least-once"})) {
    return invalid(argument, "invalid_dlx_strategy");
  }
  return {};
}

Check check_overflow(const ReceivedArgument& argument) {
  const std::string* overflow = as_string(argument.value);
  if (overflow == nullptr) return unacceptable_type(argument);
  if (!is_one_of(*overflow, {"drop-head", "reject-publish", "reject-publish-dlx"})) {
    return invalid(argument, "invalid_overflow");
  }
  return {};
}

// Has had no effect since RabbitMQ 3.12, but a wrong one is still refused.
Check check_queue_mode(const ReceivedArgument& argument) {
  const std::string* mode = as_string(argument.value);
  if (mode == nullptr) return unacceptable_type(argument);
  if (!is_one_of(*mode, {"default", "lazy"})) {
    return invalid(argument, join({"\"unsupported queue mode '", *mode, "'\""}));
  }
  return {};
}

Check check_queue_version(const ReceivedArgument& argument) {
  const std::optional<std::int64_t> version = as_integer(argument.value);
  if (!version) return not_an_integer(argument);
  if (*version < argument.known.min || *version > argument.known.max) {
    return invalid(argument,
                   join({"\"unsupported queue version '", std::to_string(*version), "'\""}));
  }
  return {};
}

Check check_queue_type(const ReceivedArgument& argument) {
  const std::string* name = as_string(argument.value);
  if (name == nullptr) return unacceptable_type(argument);
  const std::optional<QueueType> type = queue_type_from(*name);
  if (!type || (queue_type_set(*type) & kServedTypes) == 0) {
    return invalid(argument, join({"\"unsupported queue type '", *name, "'\""}));
  }
  return {};
}

Check check_leader_locator(const ReceivedArgument& argument) {
  const std::string* locator = as_string(argument.value);
  if (locator == nullptr) return unacceptable_type(argument);
  if (!is_one_of(*locator, {"client-local", "balanced", "random", "least-leaders"})) {
    return invalid(argument, "invalid_queue_locator_arg");
  }
  return {};
}

constexpr QueueArgument kQueueArguments[] = {
    // key, policy key, accepted by, check, min, max
    {"x-expires", "expires", kClassic | kQuorum, check_integer, 1, kMillisecondsMax},
    {"x-message-ttl", "message-ttl", kClassic | kQuorum, check_integer, 0, kMillisecondsMax},
    {kDeadLetterExchangeKey, "dead-letter-exchange", kClassic | kQuorum,
     check_dead_letter_exchange},
    {"x-dead-letter-routing-key", "dead-letter-routing-key", kClassic | kQuorum,
     check_dead_letter_routing_key},
    {"x-dead-letter-strategy", "dead-letter-strategy", kQuorum, check_dead_letter_strategy},
    {"x-max-length", "max-length", kClassic | kQuorum, check_integer},
    {"x-max-length-bytes", "max-length-bytes", kEveryType, check_integer},
    {"x-max-in-memory-length", "max-in-memory-length", kQuorum, check_integer},
    {"x-max-in-memory-bytes", "max-in-memory-bytes", kQuorum, check_integer},
    {"x-max-priority", "", kClassic, check_priority, 0, 255},
    {"x-overflow", "overflow", kClassic | kQuorum, check_overflow},
    {"x-queue-mode", "queue-mode", kClassic, check_queue_mode},
    {"x-queue-version", "queue-version", kClassic, check_queue_version, 1, 2},
    {"x-single-active-consumer", "", kClassic | kQuorum, check_boolean},
    {kQueueTypeKey, "", kEveryType, check_queue_type},
    {"x-quorum-initial-group-size", "", kQuorum, check_integer, 1},
    {"x-delivery-limit", "delivery-limit", kQuorum},  // RabbitMQ takes any value here
    {"x-consumer-timeout", "consumer-timeout", kClassic | kQuorum, check_integer},
    {"x-queue-leader-locator", "queue-leader-locator", kEveryType, check_leader_locator},
    {"x-queue-master-locator", "", kClassic},  // superseded by the one above, ignored
    // Streams are not served yet; their arguments are known so that other types refuse them.
    {"x-initial-cluster-size", "", kStream, check_integer, 1},
    {"x-max-age", "max-age", kStream},
    {"x-stream-max-segment-size-bytes", "stream-max-segment-size-bytes", kStream},
    {"x-stream-filter-size-bytes", "stream-filter-size-bytes", kStream},
};

const QueueArgument* find_queue_argument(std::string_view key) {
  for (const QueueArgument& known : kQueueArguments) {
    if (known.key == key) return &known;
  }
  return nullptr;
}

Check check_argument(const QueueArgument& known, const QueueDefinition& queue,
                     std::string_view vhost) {
  const Value* value = queue.arguments.find(known.key);
  if (value == nullptr || known.check == nullptr) return {};
  return known.check({known, *value, queue, vhost});
}

Check check_accepted_by_type(QueueType type, const QueueDefinition& queue, std::string_view vhost) {
  for (const Field& argument : queue.arguments) {
    const QueueArgument* known = find_queue_argument(argument.key);
    if (known == nullptr || (known->accepted_by & queue_type_set(type)) != 0) continue;
    return precondition_failed(
        join({"invalid arg '", argument.key, "' for ", queue_text(queue.name, vhost),
              " of queue type rabbit_", queue_type_name(type), "_queue"}));
  }
  return {};
}

// Replicated types are durable and shared or they are nothing.
Check check_properties(const QueueDefinition& queue, std::string_view vhost) {
  std::string_view property;
  if (queue.auto_delete) {
    property = "auto-delete";
  } else if (queue.exclusive) {
    property = "exclusive-owner";
  } else if (!queue.durable) {
    property = "non-durable";
  } else {
    return {};
  }
  return precondition_failed(
      join({"invalid property '", property, "' for ", queue_text(queue.name, vhost)}));
}

std::string quoted(std::string_view text) {
  return join({"'", text, "'"});
}

// How RabbitMQ names a value when the other declaration has none.
std::string described(const Value& value) {
  return join({"the value '", to_text(value), "' of type '", type_name(value), "'"});
}

Check check_same(std::string_view argument, std::string_view resource, std::string_view current,
                 std::string_view received) {
  if (current == received) return {};
  return fail(inequivalent_argument(argument, resource, quoted(received), quoted(current)));
}

Check check_same(std::string_view argument, std::string_view resource, bool current,
                 bool received) {
  const auto text = [](bool value) { return value ? "true" : "false"; };
  return check_same(argument, resource, std::string_view(text(current)), text(received));
}

Check check_same(std::string_view argument, std::string_view resource, const Value* current,
                 const Value* received) {
  if (current == nullptr && received == nullptr) return {};
  if (current == nullptr) {
    return fail(inequivalent_argument(argument, resource, described(*received), "none"));
  }
  if (received == nullptr) {
    return fail(inequivalent_argument(argument, resource, "none", described(*current)));
  }
  if (equal_by_value(*current, *received)) return {};
  return fail(inequivalent_argument(argument, resource, quoted(to_text(*received)),
                                    quoted(to_text(*current))));
}

// What x-queue-type says, or means by its absence. From RabbitMQ 4 on the default is as good as
// written down.
std::string queue_type_text(const QueueDefinition& queue) {
  const Value* value = queue.arguments.find(kQueueTypeKey);
  std::string text = value == nullptr ? std::string() : to_text(*value);
  return text.empty() ? std::string(queue_type_name(QueueType::classic)) : text;
}

}  // namespace

std::string_view queue_type_name(QueueType type) {
  switch (type) {
    case QueueType::classic:
      return "classic";
    case QueueType::quorum:
      return "quorum";
    case QueueType::stream:
      return "stream";
  }
  return "";
}

std::optional<QueueType> queue_type_from(std::string_view name) {
  if (name.empty()) return QueueType::classic;
  for (const QueueType type : {QueueType::classic, QueueType::quorum, QueueType::stream}) {
    if (queue_type_name(type) == name) return type;
  }
  return std::nullopt;
}

QueueType queue_type_of(const QueueDefinition& queue) {
  const Value* value = queue.arguments.find(kQueueTypeKey);
  const std::string* name = value == nullptr ? nullptr : as_string(*value);
  if (name == nullptr) return QueueType::classic;
  return queue_type_from(*name).value_or(QueueType::classic);
}

std::span<const QueueArgument> queue_arguments() {
  return kQueueArguments;
}

// The order is RabbitMQ's: the channel looks at the dead letter exchange, then the type is found
// out, then keys, then values; the queue type itself looks at the properties last.
Result<void, ProtocolError> validate_new_queue(const QueueDefinition& queue,
                                               std::string_view vhost) {
  for (const std::string_view key : {kDeadLetterExchangeKey, kQueueTypeKey}) {
    Check early = check_argument(*find_queue_argument(key), queue, vhost);
    if (!early) return early;
  }
  const QueueType type = queue_type_of(queue);
  Check accepted = check_accepted_by_type(type, queue, vhost);
  if (!accepted) return accepted;
  for (const QueueArgument& known : kQueueArguments) {
    Check checked = check_argument(known, queue, vhost);
    if (!checked) return checked;
  }
  if (type == QueueType::classic) return {};
  return check_properties(queue, vhost);
}

Result<void, ProtocolError> check_equivalence(const QueueDefinition& existing,
                                              const QueueDefinition& wanted,
                                              std::string_view vhost) {
  const std::string resource = queue_text(existing.name, vhost);
  // An exclusive queue is never durable, whatever the client says.
  const bool wanted_durable = wanted.durable && !wanted.exclusive;
  Check same = check_same("durable", resource, existing.durable, wanted_durable);
  if (!same) return same;
  same = check_same("auto_delete", resource, existing.auto_delete, wanted.auto_delete);
  if (!same) return same;
  const QueueTypeSet type = queue_type_set(queue_type_of(existing));
  for (const QueueArgument& known : kQueueArguments) {
    if ((known.accepted_by & type) == 0) continue;
    if (known.key == kQueueTypeKey) {
      same = check_same(known.key, resource, std::string_view(queue_type_text(existing)),
                        std::string_view(queue_type_text(wanted)));
    } else {
      same = check_same(known.key, resource, existing.arguments.find(known.key),
                        wanted.arguments.find(known.key));
    }
    if (!same) return same;
  }
  return {};
}

std::string_view alternate_exchange(const FieldTable& exchange_arguments) {
  const Value* value = exchange_arguments.find(kAlternateExchange);
  const std::string* name = value == nullptr ? nullptr : as_string(*value);
  return name == nullptr ? std::string_view() : std::string_view(*name);
}

Result<void, ProtocolError> validate_new_exchange(const ExchangeDefinition& exchange,
                                                  std::string_view vhost) {
  const Value* alternate = exchange.arguments.find(kAlternateExchange);
  if (alternate == nullptr || as_string(*alternate) != nullptr) return {};
  return fail(invalid_argument_type(type_name(*alternate), kAlternateExchange,
                                    exchange_text(exchange.name, vhost)));
}

Result<void, ProtocolError> check_equivalence(const ExchangeDefinition& existing,
                                              const ExchangeDefinition& wanted,
                                              std::string_view vhost) {
  const std::string resource = exchange_text(existing.name, vhost);
  Check same =
      check_same("type", resource, std::string_view(existing.type), std::string_view(wanted.type));
  if (!same) return same;
  same = check_same("durable", resource, existing.durable, wanted.durable);
  if (!same) return same;
  same = check_same("auto_delete", resource, existing.auto_delete, wanted.auto_delete);
  if (!same) return same;
  same = check_same("internal", resource, existing.internal, wanted.internal);
  if (!same) return same;
  return check_same(kAlternateExchange, resource, existing.arguments.find(kAlternateExchange),
                    wanted.arguments.find(kAlternateExchange));
}

std::string canonical_arguments(const FieldTable& arguments) {
  if (arguments.empty()) return {};
  FieldTable sorted = arguments;
  sorted.sort_by_key();
  Buffer octets;
  sorted.encode_fields(octets);
  return std::string(octets.view());
}

}  // namespace harrier
