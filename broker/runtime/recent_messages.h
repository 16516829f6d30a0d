#pragma once

#include "base/message.h"
#include "broker/core/virtual_host.h"
#include "broker/runtime/shard.h"

namespace harrier {

// Exchanges that keep messages for those who bind later (x-recent-history) do so on shard 0, where
// bindings are decided: that replica sees the messages of all shards and the bindings in one order.

// After routing `message`: lets the exchanges it came through remember it. Nobody else may hold the
// message before it is complete: no body of it may go to the store ahead later.
void keep_recent(Shard& here, const VirtualHost& vhost, const RouteOutcome& outcome,
                 const MessageRef& message);

// On shard 0, where `binding` was just added: sends the new destination what its source has kept,
// oldest first. It is there before the binding is confirmed.
void send_recent(Shard& shard0, VirtualHost& vhost, const BindingDefinition& binding);

}  // namespace harrier
