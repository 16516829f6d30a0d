#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "broker/core/definitions.h"
#include "broker/core/exchange.h"
#include "broker/core/policies.h"
#include "broker/core/queue_handle.h"
#include "protocol/reply_code.h"

namespace harrier {

// What went together with a removed exchange, queue or binding, in the order of removal: the
// bindings that began or ended at it, and the exchanges that were auto-delete and thereby lost
// their last binding as a source, with their bindings in turn. The named thing itself is not
// listed.
struct Removed {
  std::vector<ExchangeDefinition> exchanges;
  std::vector<BindingDefinition> bindings;
};

struct RouteOutcome {
  bool routed = false;  // at least one queue; what basic.publish/mandatory asks
  // The exchanges asked that keep messages (Exchange::history). Valid until the next route().
  std::span<Exchange* const> keepers;
};

// One shard's replica of a virtual host: exchanges, bindings and the directory of queues. Control
// applies the same changes in the same order on every shard, so replicas agree; each is read and
// changed by its own shard only. Checks change nothing, changes check nothing: an add needs its
// check to have passed, a removal of what is not there does nothing.
//
// Declare, bind and unbind cost O(1) whatever exists already, a deletion O(bindings of that
// object).
class VirtualHost {
 public:
  // With the predeclared exchanges of RabbitMQ.
  explicit VirtualHost(std::string name);
  ~VirtualHost();

  const std::string& name() const { return name_; }

  // Whether what is published and delivered here is copied to kTraceExchange. Off at the start.
  bool is_traced() const { return is_traced_; }

  void set_traced(bool traced) { is_traced_ = traced; }

  // The type of queues that are declared without one: what with_default_type() writes into their
  // arguments. Empty for classic, which needs no writing.
  const std::string& default_queue_type() const { return default_queue_type_; }

  void set_default_queue_type(std::string type) { default_queue_type_ = std::move(type); }

  // queue.declare of a name that the client chose: with the default type, when it names none and
  // can have that. A queue that exists keeps its type, so redeclaring it without one is equivalent
  // as long as that is the default.
  QueueDefinition with_default_type(QueueDefinition wanted) const;

  const Policies& policies() const { return policies_; }

  // Exchanges follow at once; the shards see to their queues. O(exchanges * policies).
  void set_policy(PolicyKind kind, PolicyDefinition policy);
  void clear_policy(PolicyKind kind, std::string_view name);

  // O(1) look-ups. "" is the default exchange.
  Exchange* find_exchange(std::string_view name) const;
  QueueHandle* find_queue(std::string_view name) const;
  std::size_t queue_count() const;
  void each_queue(const std::function<void(QueueHandle&)>& visit) const;
  void each_exchange(const std::function<void(Exchange&)>& visit) const;
  void each_binding(const std::function<void(const BindingDefinition&)>& visit) const;
  // Bindings that end at the queue or exchange, oldest first; none if it does not exist.
  void each_binding_to(DestinationKind kind, std::string_view name,
                       const std::function<void(const BindingDefinition&)>& visit) const;

  // exchange.declare. The existing equivalent exchange; null when it may be created; else
  // PRECONDITION_FAILED (unknown type, inequivalent), ACCESS_REFUSED (default exchange, amq.*).
  Result<Exchange*, ProtocolError> check_declare(const ExchangeDefinition& wanted) const;
  // exchange.declare/passive and every use by name: NOT_FOUND.
  Result<Exchange*, ProtocolError> require_exchange(std::string_view name) const;
  // exchange.delete. Null when it does not exist (a success); ACCESS_REFUSED, PRECONDITION_FAILED
  // (in use, with `if_unused`).
  Result<Exchange*, ProtocolError> check_delete_exchange(std::string_view name,
                                                         bool if_unused) const;
  // queue.declare of a final, non-empty name by `wanted.owner`'s connection. The existing
  // equivalent queue; null when it may be created; RESOURCE_LOCKED, PRECONDITION_FAILED.
  Result<QueueHandle*, ProtocolError> check_declare(const QueueDefinition& wanted,
                                                    ConnectionId connection) const;
  // Every use of a queue by name: NOT_FOUND, RESOURCE_LOCKED (exclusive to another connection).
  Result<QueueHandle*, ProtocolError> require_queue(std::string_view name,
                                                    ConnectionId connection) const;
  // queue.bind and exchange.bind. True when the binding is new, false when it stands already;
  // ACCESS_REFUSED (default exchange), NOT_FOUND (source first), PRECONDITION_FAILED (by type),
  // RESOURCE_LOCKED, in this order.
  Result<bool, ProtocolError> check_bind(const BindingDefinition& wanted,
                                         ConnectionId connection) const;
  // queue.unbind and exchange.unbind. True when there is something to remove; RabbitMQ differs from
  // the spec here, a missing binding, queue or exchange is no error. ACCESS_REFUSED,
  // RESOURCE_LOCKED.
  Result<bool, ProtocolError> check_unbind(const BindingDefinition& wanted,
                                           ConnectionId connection) const;

  // Whether the binding outlives the broker: both its ends exist and are durable.
  bool is_durable(const BindingDefinition& binding) const;

  Exchange& add_exchange(ExchangeDefinition definition);
  QueueHandle& add_queue(QueueDefinition definition);
  void add_binding(BindingDefinition definition);
  Removed remove_exchange(std::string_view name);
  // Marks the handle as deleted, which forgets the Queue: on its home shard the caller takes that
  // from the handle first.
  Removed remove_queue(std::string_view name);
  Removed remove_binding(const BindingDefinition& definition);

  // Empties and fills `queues` (a reused list) with every queue the message goes to, each once,
  // through exchange-to-exchange bindings and alternate exchanges; no exchange is asked twice, so
  // loops end. The handles live until the next change. Does not allocate once the lists have their
  // size.
  RouteOutcome route(Exchange& exchange, const RoutingInput& input,
                     std::vector<QueueHandle*>& queues);

  // Aborts when the indexes disagree. O(everything), for tests and fuzzers.
  void check_invariants() const;

 private:
  void apply_policies();
  // What the exchange of a delay queue delays is there, or nowhere.
  void delay_in(const QueueDefinition& delays, QueueHandle* queue);

  std::string name_;
  bool is_traced_ = false;
  std::string default_queue_type_;
  Policies policies_;
  struct Topology;
  std::unique_ptr<Topology> topology_;
};

}  // namespace harrier
