#pragma once

#include <string>
#include <variant>

#include "broker/core/definitions.h"
#include "broker/core/policies.h"

namespace harrier {

// One step of the common history of all replicas. Control decides it, every shard applies it.
struct AddVhost {};

struct RemoveVhost {};

struct AddExchange {
  ExchangeDefinition definition;
};

struct RemoveExchange {
  std::string name;
};

struct AddQueue {
  QueueDefinition definition;
};

struct RemoveQueue {
  std::string name;
};

struct AddBinding {
  BindingDefinition definition;
};

struct RemoveBinding {
  BindingDefinition definition;
};

// Not recorded: off after a restart, as in RabbitMQ.
struct SetTracing {
  bool on = false;
};

struct SetDefaultQueueType {
  std::string type;
};

// Sets or replaces.
struct SetPolicy {
  PolicyKind kind;
  PolicyDefinition definition;
};

struct ClearPolicy {
  PolicyKind kind;
  std::string name;
};

struct TopologyChange {
  std::string vhost;
  std::variant<AddVhost, RemoveVhost, AddExchange, RemoveExchange, AddQueue, RemoveQueue,
               AddBinding, RemoveBinding, SetTracing, SetDefaultQueueType, SetPolicy, ClearPolicy>
      step;
};

}  // namespace harrier
