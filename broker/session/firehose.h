#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/message.h"
#include "broker/session/channel.h"

namespace harrier {

// RabbitMQ's firehose: while a virtual host is traced, a copy of every message published into it
// and delivered out of it goes to amq.rabbitmq.trace, with the circumstances in its headers. What
// comes through that exchange is not traced. Ask VirtualHost::is_traced() first.

// Key publish.EXCHANGE. `keys` as routed, `queues` as found.
void trace_publish(Channel& channel, const Message& message, std::span<const std::string_view> keys,
                   const std::vector<QueueHandle*>& queues);

// A publish to the requester whose reply name is the routing key.
void trace_reply(Channel& channel, const Message& message);

// Key deliver.QUEUE.
void trace_delivery(Channel& channel, const Message& message, std::string_view queue,
                    bool redelivered);

}  // namespace harrier
