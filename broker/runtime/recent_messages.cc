#include "broker/runtime/recent_messages.h"

#include <deque>
#include <string>

#include "base/assert.h"
#include "broker/core/message_history.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/internal_publish.h"

namespace harrier {
namespace {

void keep(const VirtualHost& vhost, std::string_view exchange, const MessageRef& message) {
  const Exchange* const found = vhost.find_exchange(exchange);
  if (found != nullptr && found->history() != nullptr) found->history()->keep(message);
}

}  // namespace

void keep_recent(Shard& here, const VirtualHost& vhost, const RouteOutcome& outcome,
                 const MessageRef& message) {
  for (const Exchange* exchange : outcome.keepers) {
    if (here.index() == 0) {
      exchange->history()->keep(message);
      continue;
    }
    here.send(0, [&shard0 = here.broker().shard(0), where = vhost.name(), name = exchange->name(),
                  message] {
      const VirtualHost* const there = shard0.find_vhost(where);
      if (there != nullptr) keep(*there, name, message);
    });
  }
}

void send_recent(Shard& shard0, VirtualHost& vhost, const BindingDefinition& binding) {
  HARRIER_CHECK(shard0.index() == 0);
  const MessageHistory* const history = vhost.find_exchange(binding.source)->history();
  if (history == nullptr) return;
  // A copy: an exchange bound to itself keeps what it is sent here.
  const std::deque<MessageRef> messages = history->messages();
  for (const MessageRef& message : messages) {
    if (binding.destination_kind == DestinationKind::queue) {
      send_to_queue(shard0, *vhost.find_queue(binding.destination), message);
    } else {
      publish_from(shard0, vhost, *vhost.find_exchange(binding.destination), message);
    }
  }
}

}  // namespace harrier
