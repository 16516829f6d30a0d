#include "broker/core/queue_settings.h"

#include <algorithm>

#include "broker/core/arguments.h"

namespace harrier {
namespace {

// What RabbitMQ gives a quorum queue that names no limit.
constexpr std::uint32_t kQuorumDeliveryLimit = 20;

std::optional<std::int64_t> integer_of(const FieldTable& arguments, std::string_view key) {
  const Value* value = arguments.find(key);
  return value == nullptr ? std::nullopt : as_integer(*value);
}

std::optional<std::chrono::milliseconds> time_of(const FieldTable& arguments,
                                                 std::string_view key) {
  const auto number = integer_of(arguments, key);
  if (!number) return std::nullopt;
  return std::chrono::milliseconds(*number);
}

std::optional<std::uint64_t> count_of(const FieldTable& arguments, std::string_view key) {
  const auto number = integer_of(arguments, key);
  if (!number || *number < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*number);
}

std::optional<std::string> text_of(const FieldTable& arguments, std::string_view key) {
  const Value* value = arguments.find(key);
  const std::string* text = value == nullptr ? nullptr : as_string(*value);
  if (text == nullptr) return std::nullopt;
  return *text;
}

Overflow overflow_of(const FieldTable& arguments) {
  const auto text = text_of(arguments, "x-overflow");
  if (text == "reject-publish") return Overflow::reject_publish;
  if (text == "reject-publish-dlx") return Overflow::reject_publish_dlx;
  return Overflow::drop_head;
}

std::optional<std::uint32_t> delivery_limit_of(const QueueDefinition& queue) {
  const auto limit = integer_of(queue.arguments, "x-delivery-limit");
  if (!limit) {
    if (queue_type_of(queue) != QueueType::quorum) return std::nullopt;
    return kQuorumDeliveryLimit;
  }
  if (*limit < 0) return std::nullopt;
  return static_cast<std::uint32_t>(std::min<std::int64_t>(*limit, UINT32_MAX));
}

}  // namespace

QueueSettings settings_of(const QueueDefinition& queue, const PolicyDefinition* /*policy*/,
                          const PolicyDefinition* /*operator_policy*/) {
  const FieldTable& arguments = queue.arguments;
  QueueSettings settings;

  settings.message_ttl = time_of(arguments, "x-message-ttl");
  settings.expires = time_of(arguments, "x-expires");
  settings.max_length = count_of(arguments, "x-max-length");
  settings.max_length_bytes = count_of(arguments, "x-max-length-bytes");
  settings.overflow = overflow_of(arguments);
  settings.dead_letter_exchange = text_of(arguments, "x-dead-letter-exchange");
  settings.dead_letter_routing_key = text_of(arguments, "x-dead-letter-routing-key");
  settings.delivery_limit = delivery_limit_of(queue);
  settings.consumer_timeout = time_of(arguments, "x-consumer-timeout");
  settings.max_priority =
      static_cast<std::uint8_t>(integer_of(arguments, "x-max-priority").value_or(0));
  const Value* single = arguments.find("x-single-active-consumer");
  settings.single_active_consumer = single != nullptr && as_bool(*single).value_or(false);
  return settings;
}

}  // namespace harrier
