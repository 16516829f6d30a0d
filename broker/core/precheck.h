#pragma once

#include <string_view>

#include "base/result.h"
#include "broker/core/definitions.h"
#include "protocol/reply_code.h"

namespace harrier {

// What is wrong with a request by itself. RabbitMQ says so before it looks at permissions or at
// what exists, so the session asks these first. VirtualHost's checks ask them again.

// exchange.declare: PRECONDITION_FAILED (unknown type), ACCESS_REFUSED (default exchange). RabbitMQ
// before 4.0 closed the connection with COMMAND_INVALID for an unknown type.
Result<void, ProtocolError> precheck_declare(const ExchangeDefinition& wanted);

// exchange.declare/passive, and an end of a binding that is an exchange: ACCESS_REFUSED.
Result<void, ProtocolError> precheck_not_default(std::string_view exchange);

// exchange.delete: ACCESS_REFUSED for the default exchange and for amq.*, existing or not.
Result<void, ProtocolError> precheck_delete_exchange(std::string_view exchange,
                                                     std::string_view vhost);

// queue.declare with a name from the client: ACCESS_REFUSED for amq.*, even if that queue exists.
Result<void, ProtocolError> precheck_declare_queue(std::string_view queue);

// queue.bind and queue.unbind: ACCESS_REFUSED for a direct reply-to queue.
Result<void, ProtocolError> precheck_bind_queue(std::string_view queue);

// Every bind and unbind, after the write permission on the destination and before the read
// permission on the source: ACCESS_REFUSED when the default exchange is an end.
Result<void, ProtocolError> precheck_ends(const BindingDefinition& binding);

}  // namespace harrier
