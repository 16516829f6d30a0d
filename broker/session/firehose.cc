#include "broker/session/firehose.h"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "broker/core/resource_names.h"
#include "broker/core/routing_keys.h"
#include "broker/runtime/internal_publish.h"
#include "protocol/properties.h"

namespace harrier {
namespace {

Value text_array(std::span<const std::string_view> texts) {
  FieldArray array;
  for (const std::string_view text : texts)
    array.values.push_back(Value::long_string(text));
  return Value::array(std::move(array));
}

// RabbitMQ's signedint; a timestamp may need more.
Value number(std::uint64_t value) {
  if (value <= std::numeric_limits<std::int32_t>::max()) {
    return Value::int32(static_cast<std::int32_t>(value));
  }
  return Value::int64(static_cast<std::int64_t>(value));
}

// The properties that are set, by RabbitMQ's names.
struct PropertyTable {
  template <class... Property>
  void operator()(const Property&... properties) {
    const char* const names[] = {"content_type", "content_encoding", "headers",  "delivery_mode",
                                 "priority",     "correlation_id",   "reply_to", "expiration",
                                 "message_id",   "timestamp",        "type",     "user_id",
                                 "app_id",       "cluster_id"};
    static_assert(sizeof...(properties) == std::size(names));
    const char* const* name = names;
    (add(*name++, properties), ...);
  }

  template <class Property>
  void add(const char* name, const std::optional<Property>& property) {
    if (property) fields.append(name, value_of(*property));
  }

  static Value value_of(std::string_view text) { return Value::long_string(text); }

  static Value value_of(std::uint64_t value) { return number(value); }

  static Value value_of(const TableView& table) { return Value::table(table.to_owned()); }

  FieldTable fields;
};

// Publishes the copy, whose headers end with `more`.
void trace(Channel& channel, const Message& message, std::string_view key,
           std::span<const std::string_view> keys, const FieldTable& more) {
  PropertyTable properties;
  if (auto parsed = parse_properties(message.properties())) parsed->fields(properties);
  FieldTable headers;
  headers.append("exchange_name", Value::long_string(message.exchange()));
  headers.append("routing_keys", text_array(keys));
  headers.append("properties", Value::table(std::move(properties.fields)));
  headers.append("node", Value::long_string(node_name()));
  headers.append("vhost", Value::long_string(channel.vhost().name()));
  headers.append("connection", Value::long_string(channel.connection().peer().name));
  headers.append("channel", Value::int32(channel.number()));
  headers.append("user", Value::long_string(channel.connection().user().name));
  for (const Field& field : more)
    headers.append(field.key, field.value);
  BasicProperties wrapped;
  wrapped.headers = std::move(headers);
  channel.shard().own_messages().publish(channel.vhost().name(),
                                         own_message(kTraceExchange, key, wrapped, message.body()));
}

void trace_routed(Channel& channel, const Message& message, std::span<const std::string_view> keys,
                  std::span<const std::string_view> queues) {
  FieldTable more;
  more.append("routed_queues", text_array(queues));
  trace(channel, message, "publish." + std::string(message.exchange()), keys, more);
}

}  // namespace

void trace_publish(Channel& channel, const Message& message, std::span<const std::string_view> keys,
                   const std::vector<QueueHandle*>& queues) {
  std::vector<std::string_view> names;
  names.reserve(queues.size());
  for (const QueueHandle* queue : queues)
    names.emplace_back(queue->name());
  trace_routed(channel, message, keys, names);
}

void trace_reply(Channel& channel, const Message& message) {
  const std::string_view name[] = {message.routing_key()};
  trace_routed(channel, message, name, name);
}

void trace_delivery(Channel& channel, const Message& message, std::string_view queue,
                    bool redelivered) {
  if (message.exchange() == kTraceExchange) return;
  const auto properties = parse_properties(message.properties());
  std::vector<std::string_view> keys;
  const TableView headers = properties && properties->headers ? *properties->headers : TableView{};
  if (!collect_routing_keys(message.routing_key(), headers, keys)) return;
  FieldTable more;
  more.append("redelivered", Value::int32(redelivered ? 1 : 0));
  trace(channel, message, "deliver." + std::string(queue), keys, more);
}

}  // namespace harrier
