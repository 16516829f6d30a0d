#pragma once

#include "base/message.h"
#include "broker/core/virtual_host.h"
#include "broker/runtime/shard.h"

namespace harrier {

// Messages that come from no channel. Nobody waits for them, and whoever gives one to a queue of
// this shard may be called by that queue's consumers: not from inside of a queue.

// Gives `message` to the queue, wherever that lives.
void send_to_queue(Shard& here, const QueueHandle& queue, const MessageRef& message);

// Gives `message` to every queue that `exchange` routes it to by its routing key, CC and headers.
void publish_from(Shard& here, VirtualHost& vhost, Exchange& exchange, const MessageRef& message);

}  // namespace harrier
