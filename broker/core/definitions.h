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
  std::string default_queue_type = {};  // of queues declared without one; empty for classic
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
  LaneId delay_lane{};  // of a durable queue: where delayed messages wait; the one after it has
                        // what is to be tried again now
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

enum class LimitScope : std::uint8_t {
  vhost,
  user
};

// How much of something a virtual host or user may have.
struct LimitDefinition {
  LimitScope scope = LimitScope::vhost;
  std::string subject;     // name of the virtual host or user
  std::string name;        // "max-connections"
  std::int64_t value = 0;  // negative: no limit
};

// A runtime parameter, which the broker keeps for a component; `component` and `vhost` are empty
// for a global one.
struct ParameterDefinition {
  std::string vhost;
  std::string component;
  std::string name;
  std::string value;  // a JSON document
};

}  // namespace harrier
