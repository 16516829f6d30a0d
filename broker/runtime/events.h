#pragma once

#include <string_view>
#include <utility>

#include "broker/core/virtual_host.h"
#include "broker/runtime/shard.h"
#include "broker/runtime/topology_change.h"
#include "protocol/field_table.h"

namespace harrier {

// What happens in the broker, for everybody who may read from amq.rabbitmq.event, as RabbitMQ's
// event exchange tells it: a topic exchange of the default virtual host, messages without a body,
// the facts in their headers. Keys are connection.created and the like.

// Whether anything is bound to the exchange. Two look-ups.
bool events_are_wanted(Shard& here);

// Publishes at the end of the turn. Adds timestamp_in_ms and node to `facts`.
void publish_event(Shard& here, std::string_view key, FieldTable facts);

// Publishes the event whose facts `describe(FieldTable&)` appends; does not call it if nobody is
// bound.
template <class Describe>
void announce(Shard& here, std::string_view key, Describe&& describe) {
  if (!events_are_wanted(here)) return;
  FieldTable facts;
  std::forward<Describe>(describe)(facts);
  publish_event(here, key, std::move(facts));
}

// The events of a change that control has decided; `removed` went with it. On shard 0.
void announce_change(Shard& shard0, const TopologyChange& change, const Removed& removed);

// alarm.set or alarm.cleared. `source` is "memory" or "disk".
void announce_alarm(Shard& shard0, std::string_view source, bool set);

}  // namespace harrier
