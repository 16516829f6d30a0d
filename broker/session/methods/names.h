#pragma once

#include <string>

#include "broker/core/queue_handle.h"
#include "broker/session/channel.h"

namespace harrier {

// AMQP 0-9-1: an empty queue name means the queue last declared on the channel. NOT_FOUND if there
// is none.
Result<std::string, ProtocolError> queue_or_last(const Channel& channel, std::string name);

// The queue, if the user may read it and no other connection has it for itself: ACCESS_REFUSED,
// NOT_FOUND, RESOURCE_LOCKED.
Result<QueueHandle*, ProtocolError> readable_queue(Channel& channel, const std::string& name);

}  // namespace harrier
