#pragma once

#include <string_view>

#include "protocol/reply_code.h"

namespace harrier {

// The refusals that more than one operation gives, in RabbitMQ's words: clients and their test
// suites compare these texts.

// NOT_FOUND
ProtocolError no_exchange(std::string_view exchange, std::string_view vhost);
ProtocolError no_queue(std::string_view queue, std::string_view vhost);

// RESOURCE_LOCKED: exclusive to another connection, or declared with another `exclusive`.
ProtocolError queue_locked(std::string_view queue, std::string_view vhost);

// ACCESS_REFUSED
ProtocolError default_exchange_refused();
// `kind` is "queue" or "exchange".
ProtocolError reserved_name(std::string_view kind, std::string_view name);

// PRECONDITION_FAILED. `received` and `current` come with their quotes, or are "none".
ProtocolError inequivalent_argument(std::string_view argument, std::string_view resource,
                                    std::string_view received, std::string_view current);
// An argument that names an exchange is not a longstr.
ProtocolError invalid_argument_type(std::string_view type_name, std::string_view argument,
                                    std::string_view resource);

}  // namespace harrier
