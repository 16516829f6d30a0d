#include "broker/runtime/events.h"

#include <string>
#include <variant>

#include "broker/core/delay_queue.h"
#include "broker/core/resource_names.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/internal_publish.h"

namespace harrier {
namespace {

void add(FieldTable& facts, std::string_view name, std::string_view text) {
  facts.append(name, Value::long_string(text));
}

void add_flag(FieldTable& facts, std::string_view name, bool value) {
  facts.append(name, Value::boolean(value));
}

void add_place(FieldTable& facts, std::string_view name, std::string_view vhost) {
  add(facts, "name", name);
  add(facts, "vhost", vhost);
}

void announce_name(Shard& here, std::string_view key, std::string_view name,
                   std::string_view vhost) {
  announce(here, key, [&](FieldTable& facts) { add_place(facts, name, vhost); });
}

void announce_new(Shard& here, const ExchangeDefinition& exchange, std::string_view vhost) {
  announce(here, "exchange.created", [&](FieldTable& facts) {
    add_place(facts, exchange.name, vhost);
    add(facts, "type", exchange.type);
    add_flag(facts, "durable", exchange.durable);
    add_flag(facts, "auto_delete", exchange.auto_delete);
    add_flag(facts, "internal", exchange.internal);
    facts.append("arguments", Value::table(exchange.arguments));
  });
}

void announce_new(Shard& here, const QueueDefinition& queue, std::string_view vhost) {
  announce(here, "queue.created", [&](FieldTable& facts) {
    add_place(facts, queue.name, vhost);
    add_flag(facts, "durable", queue.durable);
    add_flag(facts, "auto_delete", queue.auto_delete);
    add_flag(facts, "exclusive", queue.exclusive);
    facts.append("arguments", Value::table(queue.arguments));
  });
}

void announce_binding(Shard& here, std::string_view key, const BindingDefinition& binding,
                      std::string_view vhost) {
  announce(here, key, [&](FieldTable& facts) {
    const bool to_queue = binding.destination_kind == DestinationKind::queue;
    add(facts, "source_name", binding.source);
    add(facts, "source_kind", "exchange");
    add(facts, "destination_name", binding.destination);
    add(facts, "destination_kind", to_queue ? "queue" : "exchange");
    add(facts, "routing_key", binding.routing_key);
    facts.append("arguments", Value::table(binding.arguments));
    add(facts, "vhost", vhost);
  });
}

}  // namespace

bool events_are_wanted(Shard& here) {
  const VirtualHost* const vhost = here.find_vhost(here.broker().default_vhost());
  const Exchange* const exchange =
      vhost == nullptr ? nullptr : vhost->find_exchange(kEventExchange);
  return exchange != nullptr && exchange->binding_count() > 0;
}

void publish_event(Shard& here, std::string_view key, FieldTable facts) {
  const std::int64_t now_ms = here.now().time_since_epoch().count();
  add(facts, "node", node_name());
  facts.append("timestamp_in_ms", Value::int64(now_ms));
  BasicProperties properties;
  properties.headers = std::move(facts);
  properties.delivery_mode = 2;
  properties.timestamp = static_cast<std::uint64_t>(now_ms / 1000);
  here.own_messages().publish(here.broker().default_vhost(),
                              own_message(kEventExchange, key, properties, ""));
}

void announce_change(Shard& shard0, const TopologyChange& change, const Removed& removed) {
  const std::string& vhost = change.vhost;
  for (const BindingDefinition& binding : removed.bindings)
    announce_binding(shard0, "binding.deleted", binding, vhost);
  if (std::holds_alternative<AddVhost>(change.step)) {
    announce(shard0, "vhost.created", [&](FieldTable& facts) { add(facts, "name", vhost); });
  } else if (std::holds_alternative<RemoveVhost>(change.step)) {
    announce(shard0, "vhost.deleted", [&](FieldTable& facts) { add(facts, "name", vhost); });
  } else if (const auto* exchange = std::get_if<AddExchange>(&change.step)) {
    announce_new(shard0, exchange->definition, vhost);
  } else if (const auto* queue = std::get_if<AddQueue>(&change.step)) {
    if (is_delay_queue(queue->definition.name)) return;
    announce_new(shard0, queue->definition, vhost);
  } else if (const auto* bind = std::get_if<AddBinding>(&change.step)) {
    announce_binding(shard0, "binding.created", bind->definition, vhost);
  } else if (const auto* unbind = std::get_if<RemoveBinding>(&change.step)) {
    announce_binding(shard0, "binding.deleted", unbind->definition, vhost);
  } else if (const auto* gone = std::get_if<RemoveExchange>(&change.step)) {
    announce_name(shard0, "exchange.deleted", gone->name, vhost);
  } else if (const auto* dropped = std::get_if<RemoveQueue>(&change.step)) {
    if (is_delay_queue(dropped->name)) return;
    announce_name(shard0, "queue.deleted", dropped->name, vhost);
  }
  for (const ExchangeDefinition& exchange : removed.exchanges)
    announce_name(shard0, "exchange.deleted", exchange.name, vhost);
}

void announce_alarm(Shard& shard0, std::string_view source, bool set) {
  announce(shard0, set ? "alarm.set" : "alarm.cleared",
           [&](FieldTable& facts) { add(facts, "source", source); });
}

}  // namespace harrier
