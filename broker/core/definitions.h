#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "broker/core/ids.h"
#include "protocol/field_table.h"
#include "storage/store.h"

namespace harrier {

// What was declared. Plain values: control sends them to every shard and the store keeps their
// encoded form (definition_records.h).

struct VhostDefinition {
  std::string name;
};

struct ExchangeDefinition {
  std::string name;
  std::string type;
  bool durable = false;
  bool auto_delete = false;
  bool internal = false;
  FieldTable arguments;
};

struct QueueDefinition {
  std::string name;
  bool durable = false;    // false whenever exclusive is set, as RabbitMQ stores it
  bool exclusive = false;  // usable by `owner` only, gone when that connection ends
  bool auto_delete = false;
  FieldTable arguments;

  // Chosen by control when the queue is new; ignored in a declare request.
  std::string vhost;
  ConnectionId owner{};  // of an exclusive queue
  QueueId id{};
  LaneId lane{};        // of a durable queue: first of its lanes in the store
  ShardIndex home = 0;  // the shard that holds its messages; re-chosen at every start
};

enum class DestinationKind : std::uint8_t {
  queue,
  exchange
};

// Identity of a binding is all of it: the same routing key with other arguments, or with arguments
// of another wire type, is another binding.
struct BindingDefinition {
  std::string source;
  std::string destination;
  DestinationKind destination_kind = DestinationKind::queue;
  std::string routing_key;
  FieldTable arguments;
};

}  // namespace harrier
