#include "broker/runtime/internal_publish.h"

#include <string_view>
#include <vector>

#include "broker/core/routing_keys.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/recent_messages.h"
#include "protocol/properties.h"

namespace harrier {

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

}  // namespace harrier
