#include "broker/runtime/internal_publish.h"

#include <unistd.h>

#include <array>
#include <utility>

#include "base/bytes.h"
#include "broker/core/routing_keys.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/recent_messages.h"
#include "protocol/properties.h"

namespace harrier {
namespace {

constexpr std::size_t kShortStringMax = 255;

}  // namespace

void send_to_queue(Shard& here, const QueueHandle& queue, const MessageRef& message) {
  if (queue.home() != here.index()) {
    here.send(queue.home(), [&there = here.broker().shard(queue.home()), id = queue.id(), message] {
      if (Queue* home = there.find_queue(id)) home->enqueue(message, there.now());
    });
  } else if (queue.queue() != nullptr) {
    queue.queue()->enqueue(message, here.now());
  }
}

void publish_from(Shard& here, VirtualHost& vhost, Exchange& exchange, const MessageRef& message) {
  const auto properties = parse_properties(message->properties());
  const TableView headers = properties && properties->headers ? *properties->headers : TableView{};
  std::vector<std::string_view> keys;
  if (!collect_routing_keys(message->routing_key(), headers, keys)) return;
  std::vector<QueueHandle*> queues;
  const RouteOutcome outcome =
      vhost.route(exchange, {keys, headers, properties ? &*properties : nullptr}, queues);
  keep_recent(here, vhost, outcome, message);
  for (const QueueHandle* queue : queues)
    send_to_queue(here, *queue, message);
}

MessageRef own_message(std::string_view exchange, std::string_view routing_key,
                       const BasicProperties& properties, ByteView body) {
  Buffer encoded;
  properties.encode(encoded);
  MessageParts parts;
  parts.exchange = exchange;
  // Made of a name that may be as long as a key.
  parts.routing_key = routing_key.substr(0, kShortStringMax);
  parts.properties = encoded.view();
  parts.persistent = properties.persistent();
  return Message::create(parts, body);
}

const std::string& node_name() {
  static const std::string name = [] {
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
    return std::string("harrier@") + host.data();
  }();
  return name;
}

void OwnMessages::publish(std::string_view vhost, MessageRef message) {
  pending_.push_back({std::string(vhost), std::move(message)});
  shard_.at_turn_end(*this);
}

void OwnMessages::end_of_turn() {
  for (const Pending& pending : std::exchange(pending_, {})) {
    VirtualHost* const vhost = shard_.find_vhost(pending.vhost);
    if (vhost == nullptr) continue;
    Exchange* const exchange = vhost->find_exchange(pending.message->exchange());
    if (exchange != nullptr) publish_from(shard_, *vhost, *exchange, pending.message);
  }
}

}  // namespace harrier
