#include "broker/core/arguments.h"

#include <initializer_list>

#include "base/bytes.h"
#include "broker/core/errors.h"
#include "broker/core/queue_argument_table.h"
#include "broker/core/resource_names.h"

namespace harrier {
namespace {

using Check = Result<void, ProtocolError>;

std::string join(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts)
    text += part;
  return text;
}

auto precondition_failed(std::string text) {
  return fail(ProtocolError{ReplyCode::precondition_failed, std::move(text)});
}

// `fault` is printed by RabbitMQ as an Erlang term: {tag,value}, an atom, or a string in quotes.
auto invalid(std::string_view key, std::string_view resource, std::string_view fault) {
  return precondition_failed(join({"invalid arg '", key, "' for ", resource, ": ", fault}));
}

Check check_argument(const QueueArgument& known, const QueueDefinition& queue,
                     std::string_view vhost) {
  const Value* value = queue.arguments.find(known.key);
  if (value == nullptr) return {};
  ArgumentFault fault = known.check == nullptr ? std::nullopt : known.check(known, *value);
  if (!fault && known.fits != nullptr) fault = known.fits(queue);
  if (!fault) return {};
  return invalid(known.key, queue_text(queue.name, vhost), *fault);
}

// The channel looks at this one before the queue type does, and says it in words of its own.
Check check_dead_letter_exchange(const QueueDefinition& queue, std::string_view vhost) {
  const Value* value = queue.arguments.find(kDeadLetterExchangeKey);
  if (value == nullptr || as_string(*value) != nullptr) return {};
  return fail(invalid_argument_type(type_name(*value), kDeadLetterExchangeKey,
                                    queue_text(queue.name, vhost)));
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

// The order is RabbitMQ's: the channel looks at the dead letter exchange, then the type is found
// out, then keys, then values; the queue type itself looks at the properties last.
Result<void, ProtocolError> validate_new_queue(const QueueDefinition& queue,
                                               std::string_view vhost) {
  if (Check early = check_dead_letter_exchange(queue, vhost); !early) return early;
  if (Check early = check_argument(*find_queue_argument(kQueueTypeKey), queue, vhost); !early) {
    return early;
  }
  const QueueType type = queue_type_of(queue);
  Check accepted = check_accepted_by_type(type, queue, vhost);
  if (!accepted) return accepted;
  for (const QueueArgument& known : queue_arguments()) {
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
  for (const QueueArgument& known : queue_arguments()) {
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
