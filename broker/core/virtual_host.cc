#include "broker/core/virtual_host.h"

#include <iterator>
#include <unordered_map>
#include <utility>

#include "base/assert.h"
#include "broker/core/arguments.h"
#include "broker/core/delay_queue.h"
#include "broker/core/errors.h"
#include "broker/core/exchange_types.h"
#include "broker/core/name_hash.h"
#include "broker/core/precheck.h"
#include "broker/core/queue_argument_table.h"
#include "broker/core/resource_names.h"

namespace harrier {
namespace {

struct PredeclaredExchange {
  std::string_view name;
  std::string_view type;
  bool internal = false;
};

// AMQP 0-9-1 §3.1.3 asks for the default exchange and one amq.* per type; amq.match and the trace
// exchange are RabbitMQ's.
constexpr PredeclaredExchange kPredeclaredExchanges[] = {
    {"amq.direct", "direct"}, {"amq.fanout", "fanout"}, {"amq.headers", "headers"},
    {"amq.match", "headers"}, {"amq.topic", "topic"},   {kTraceExchange, "topic", true},
};

struct QueueEntry {
  QueueRef handle;
  IncomingBindings incoming;
};

using QueueDirectory = NameMap<QueueEntry>;

// Routes each key to the queue of that name: a binding of every queue, stored nowhere. The spec's
// rule "default-exchange" of exchange.declare.
class DefaultExchange final : public ExchangeType {
 public:
  explicit DefaultExchange(const QueueDirectory& queues) : queues_(queues) {}

  // precheck_ends() refuses every binding at the default exchange.
  void bind(const BindingDefinition&, Destination) override { HARRIER_CHECK(false); }

  void unbind(const BindingDefinition&, Destination) override { HARRIER_CHECK(false); }

  void route(const RoutingInput& input, Destinations& out) const override {
    for (const std::string_view key : input.routing_keys) {
      const auto found = queues_.find(key);
      // What is put into a delay queue comes from its exchange alone: any other way in could be a
      // circle that nobody sees.
      if (found != queues_.end() && !is_delay_queue(key))
        out.push_back({found->second.handle.get(), nullptr});
    }
  }

 private:
  const QueueDirectory& queues_;
};

ExchangeDefinition predeclared(const PredeclaredExchange& exchange) {
  ExchangeDefinition definition;
  definition.name = exchange.name;
  definition.type = exchange.type;
  definition.durable = true;
  definition.internal = exchange.internal;
  return definition;
}

bool is_locked(const QueueDefinition& queue, ConnectionId connection) {
  return queue.exclusive && queue.owner != connection;
}

}  // namespace

struct VirtualHost::Topology {
  QueueDirectory queues;
  NameMap<std::unique_ptr<Exchange>> exchanges;

  // Scratch of route() and of removals.
  std::uint64_t route_number = 0;
  std::vector<Exchange*> visited;
  std::vector<Exchange*> keepers;
  Destinations chosen;
  std::vector<Exchange*> doomed;

  Exchange* find_exchange(std::string_view name) const {
    const auto found = exchanges.find(name);
    return found == exchanges.end() ? nullptr : found->second.get();
  }

  // Where a binding leads, and the list of what else leads there; null when it does not exist.
  struct End {
    Destination destination;
    IncomingBindings* incoming = nullptr;
  };

  End find_end(DestinationKind kind, std::string_view name) {
    if (kind == DestinationKind::exchange) {
      Exchange* exchange = find_exchange(name);
      if (exchange == nullptr) return {};
      return {{nullptr, exchange}, &exchange->incoming_};
    }
    const auto found = queues.find(name);
    if (found == queues.end()) return {};
    return {{found->second.handle.get(), nullptr}, &found->second.incoming};
  }

  Binding* find_binding(const BindingDefinition& wanted) const {
    const Exchange* source = find_exchange(wanted.source);
    if (source == nullptr) return nullptr;
    const std::string arguments = canonical_arguments(wanted.arguments);
    return source->find(
        {wanted.destination_kind, wanted.destination, wanted.routing_key, arguments});
  }

  // Marks the exchange as asked in this routing, and puts it in the queue of those to ask.
  void visit(Exchange& exchange) {
    if (exchange.route_mark == route_number) return;
    exchange.route_mark = route_number;
    visited.push_back(&exchange);
  }

  // An auto-delete exchange goes with its last binding as a source; being a destination does not
  // keep it (RabbitMQ; the spec counts queues only).
  void doom_if_unused(Exchange& exchange) {
    if (!exchange.definition_.auto_delete || !exchange.outgoing_.empty()) return;
    if (exchange.doomed_) return;
    exchange.doomed_ = true;
    doomed.push_back(&exchange);
  }

  BindingDefinition detach(Binding& binding) {
    Exchange& source = *binding.source;
    BindingDefinition definition = source.detach(binding);
    doom_if_unused(source);
    return definition;
  }

  void strip(IncomingBindings& incoming, Removed& removed) {
    while (!incoming.empty())
      removed.bindings.push_back(detach(*incoming.front()));
  }

  // Takes a doomed exchange away; losing their bindings may doom others.
  ExchangeDefinition remove(Exchange& exchange, Removed& removed) {
    HARRIER_CHECK(exchange.doomed_);
    while (!exchange.outgoing_.empty()) {
      removed.bindings.push_back(detach(exchange.outgoing_.front()));
    }
    strip(exchange.incoming_, removed);
    const auto place = exchanges.find(exchange.name());
    ExchangeDefinition definition = std::move(exchange.definition_);
    exchanges.erase(place);
    return definition;
  }

  void remove_doomed(Removed& removed) {
    for (std::size_t next = 0; next < doomed.size(); ++next) {
      removed.exchanges.push_back(remove(*doomed[next], removed));
    }
    doomed.clear();
  }

  void check_incoming(const IncomingBindings& incoming, Destination destination,
                      std::size_t& bindings_seen) const {
    for (auto place = incoming.begin(); place != incoming.end(); ++place) {
      const Binding& binding = **place;
      HARRIER_CHECK(binding.destination == destination);
      HARRIER_CHECK(binding.incoming == &incoming);
      HARRIER_CHECK(IncomingBindings::const_iterator(binding.incoming_place) == place);
      ++bindings_seen;
    }
  }

  void check_outgoing(const Exchange& exchange) const {
    HARRIER_CHECK(exchange.outgoing_.size() == exchange.index_.size());
    for (const Binding& binding : exchange.outgoing_) {
      HARRIER_CHECK(binding.source == &exchange);
      HARRIER_CHECK(&*binding.outgoing_place == &binding);
      HARRIER_CHECK(binding.definition.source == exchange.name());
      HARRIER_CHECK(find_binding(binding.definition) == &binding);
      const std::string& end = binding.destination.queue != nullptr
                                   ? binding.destination.queue->name()
                                   : binding.destination.exchange->name();
      HARRIER_CHECK(binding.definition.destination == end);
    }
  }
};

VirtualHost::VirtualHost(std::string name)
    : name_(std::move(name)), topology_(std::make_unique<Topology>()) {
  const ExchangeDefinition nameless = predeclared({"", "direct"});
  topology_->exchanges.emplace(
      std::string(),
      std::make_unique<Exchange>(nameless, std::make_unique<DefaultExchange>(topology_->queues)));
  for (const PredeclaredExchange& exchange : kPredeclaredExchanges) {
    add_exchange(predeclared(exchange));
  }
}

VirtualHost::~VirtualHost() = default;

QueueDefinition VirtualHost::with_default_type(QueueDefinition wanted) const {
  if (default_queue_type_.empty() || wanted.arguments.find(kQueueTypeKey) != nullptr) return wanted;
  const QueueType type = queue_type_from(default_queue_type_).value_or(QueueType::classic);
  const QueueHandle* existing = find_queue(wanted.name);
  const bool can_be = wanted.durable && !wanted.exclusive && !wanted.auto_delete;
  const bool takes = existing == nullptr ? type == QueueType::classic || can_be
                                         : queue_type_of(existing->definition()) == type;
  if (takes) wanted.arguments.set(kQueueTypeKey, Value::long_string(default_queue_type_));
  return wanted;
}

void VirtualHost::set_policy(PolicyKind kind, PolicyDefinition policy) {
  policies_.set(kind, std::move(policy));
  apply_policies();
}

void VirtualHost::clear_policy(PolicyKind kind, std::string_view name) {
  policies_.clear(kind, name);
  apply_policies();
}

void VirtualHost::apply_policies() {
  for (const auto& [name, exchange] : topology_->exchanges)
    exchange->alternate_ = policies_.alternate_of(exchange->definition_);
}

Exchange* VirtualHost::find_exchange(std::string_view name) const {
  return topology_->find_exchange(name);
}

QueueHandle* VirtualHost::find_queue(std::string_view name) const {
  const auto found = topology_->queues.find(name);
  return found == topology_->queues.end() ? nullptr : found->second.handle.get();
}

std::size_t VirtualHost::queue_count() const {
  return topology_->queues.size();
}

void VirtualHost::each_queue(const std::function<void(QueueHandle&)>& visit) const {
  for (const auto& [name, entry] : topology_->queues)
    visit(*entry.handle);
}

void VirtualHost::each_exchange(const std::function<void(Exchange&)>& visit) const {
  for (const auto& [name, exchange] : topology_->exchanges)
    visit(*exchange);
}

void VirtualHost::each_binding(const std::function<void(const BindingDefinition&)>& visit) const {
  for (const auto& [name, exchange] : topology_->exchanges) {
    for (const Binding& binding : exchange->outgoing_)
      visit(binding.definition);
  }
}

void VirtualHost::each_binding_to(
    DestinationKind kind, std::string_view name,
    const std::function<void(const BindingDefinition&)>& visit) const {
  const Topology::End end = topology_->find_end(kind, name);
  if (end.incoming == nullptr) return;
  for (const Binding* binding : *end.incoming)
    visit(binding->definition);
}

Result<Exchange*, ProtocolError> VirtualHost::check_declare(
    const ExchangeDefinition& wanted) const {
  if (auto sound = precheck_declare(wanted); !sound) return fail(std::move(sound.error()));
  if (Exchange* existing = find_exchange(wanted.name)) {
    if (auto same = check_equivalence(existing->definition(), wanted, name_); !same) {
      return fail(std::move(same.error()));
    }
    return existing;
  }
  if (is_reserved(wanted.name)) return fail(reserved_name("exchange", wanted.name));
  if (auto valid = validate_new_exchange(wanted, name_); !valid) {
    return fail(std::move(valid.error()));
  }
  const ExchangeTypeEntry& type = *find_exchange_type(wanted.type);
  if (type.validate != nullptr) {
    if (auto valid = type.validate(wanted); !valid) return fail(std::move(valid.error()));
  }
  return nullptr;
}

Result<Exchange*, ProtocolError> VirtualHost::require_exchange(std::string_view name) const {
  Exchange* exchange = find_exchange(name);
  if (exchange == nullptr) return fail(no_exchange(name, name_));
  return exchange;
}

Result<Exchange*, ProtocolError> VirtualHost::check_delete_exchange(std::string_view name,
                                                                    bool if_unused) const {
  if (auto allowed = precheck_delete_exchange(name, name_); !allowed) {
    return fail(std::move(allowed.error()));
  }
  Exchange* exchange = find_exchange(name);
  if (exchange == nullptr) return nullptr;
  if (if_unused && exchange->binding_count() > 0) {
    return fail(
        ProtocolError{ReplyCode::precondition_failed, exchange_text(name, name_) + " in use"});
  }
  return exchange;
}

Result<QueueHandle*, ProtocolError> VirtualHost::check_declare(const QueueDefinition& wanted,
                                                               ConnectionId connection) const {
  QueueHandle* existing = find_queue(wanted.name);
  if (existing == nullptr) {
    if (auto valid = validate_new_queue(wanted, name_); !valid) {
      return fail(std::move(valid.error()));
    }
    return nullptr;
  }
  const QueueDefinition& current = existing->definition();
  if (current.exclusive != wanted.exclusive || is_locked(current, connection)) {
    return fail(queue_locked(wanted.name, name_));
  }
  if (auto same = check_equivalence(current, wanted, name_); !same) {
    return fail(std::move(same.error()));
  }
  return existing;
}

Result<QueueHandle*, ProtocolError> VirtualHost::require_queue(std::string_view name,
                                                               ConnectionId connection) const {
  QueueHandle* queue = find_queue(name);
  if (queue == nullptr) return fail(no_queue(name, name_));
  if (is_locked(queue->definition(), connection)) return fail(queue_locked(name, name_));
  return queue;
}

Result<bool, ProtocolError> VirtualHost::check_bind(const BindingDefinition& wanted,
                                                    ConnectionId connection) const {
  if (auto sound = precheck_ends(wanted); !sound) return fail(std::move(sound.error()));
  const Exchange* source = find_exchange(wanted.source);
  if (source == nullptr) return fail(no_exchange(wanted.source, name_));
  const bool to_queue = wanted.destination_kind == DestinationKind::queue;
  QueueHandle* queue = to_queue ? find_queue(wanted.destination) : nullptr;
  if (to_queue && queue == nullptr) return fail(no_queue(wanted.destination, name_));
  Exchange* exchange = to_queue ? nullptr : find_exchange(wanted.destination);
  if (!to_queue && exchange == nullptr) return fail(no_exchange(wanted.destination, name_));
  if (auto valid = source->type().validate_binding(wanted, {queue, exchange}); !valid) {
    return fail(std::move(valid.error()));
  }
  if (queue != nullptr && is_locked(queue->definition(), connection)) {
    return fail(queue_locked(wanted.destination, name_));
  }
  return topology_->find_binding(wanted) == nullptr;
}

Result<bool, ProtocolError> VirtualHost::check_unbind(const BindingDefinition& wanted,
                                                      ConnectionId connection) const {
  if (auto sound = precheck_ends(wanted); !sound) return fail(std::move(sound.error()));
  const Binding* binding = topology_->find_binding(wanted);
  if (binding == nullptr) return false;
  const QueueHandle* queue = binding->destination.queue;
  if (queue != nullptr && is_locked(queue->definition(), connection)) {
    return fail(queue_locked(wanted.destination, name_));
  }
  return true;
}

bool VirtualHost::is_durable(const BindingDefinition& binding) const {
  const Exchange* source = find_exchange(binding.source);
  const Destination end =
      topology_->find_end(binding.destination_kind, binding.destination).destination;
  if (source == nullptr || !source->definition().durable) return false;
  if (end.queue != nullptr) return end.queue->definition().durable;
  return end.exchange != nullptr && end.exchange->definition().durable;
}

Exchange& VirtualHost::add_exchange(ExchangeDefinition definition) {
  const ExchangeTypeEntry* type = find_exchange_type(definition.type);
  HARRIER_CHECK(type != nullptr);
  std::string name = definition.name;
  auto made = type->make(definition);
  auto exchange = std::make_unique<Exchange>(std::move(definition), std::move(made));
  exchange->alternate_ = policies_.alternate_of(exchange->definition_);
  if (exchange->definition().type == kDelayedExchangeType) {
    exchange->type_->delay_in(find_queue(delay_queue_name(name)));
  }
  const auto [place, is_new] = topology_->exchanges.emplace(std::move(name), std::move(exchange));
  HARRIER_CHECK(is_new);
  return *place->second;
}

QueueHandle& VirtualHost::add_queue(QueueDefinition definition) {
  std::string name = definition.name;
  QueueEntry entry{QueueRef(new QueueHandle(std::move(definition))), {}};
  const auto [place, is_new] = topology_->queues.emplace(std::move(name), std::move(entry));
  HARRIER_CHECK(is_new);
  QueueHandle& handle = *place->second.handle;
  if (is_delay_queue(handle.name())) delay_in(handle.definition(), &handle);
  return handle;
}

void VirtualHost::delay_in(const QueueDefinition& delays, QueueHandle* queue) {
  Exchange* exchange = find_exchange(delayed_exchange_of(delays));
  if (exchange != nullptr) exchange->type_->delay_in(queue);
}

void VirtualHost::add_binding(BindingDefinition definition) {
  Exchange* source = find_exchange(definition.source);
  HARRIER_CHECK(source != nullptr);
  const Topology::End end =
      topology_->find_end(definition.destination_kind, definition.destination);
  HARRIER_CHECK(end.incoming != nullptr);
  Binding binding;
  binding.canonical_arguments = canonical_arguments(definition.arguments);
  binding.definition = std::move(definition);
  binding.destination = end.destination;
  source->attach(std::move(binding), *end.incoming);
}

Removed VirtualHost::remove_exchange(std::string_view name) {
  Removed removed;
  Exchange* exchange = find_exchange(name);
  if (exchange == nullptr) return removed;
  exchange->doomed_ = true;
  topology_->remove(*exchange, removed);
  topology_->remove_doomed(removed);
  return removed;
}

Removed VirtualHost::remove_queue(std::string_view name) {
  Removed removed;
  const auto found = topology_->queues.find(name);
  if (found == topology_->queues.end()) return removed;
  topology_->strip(found->second.incoming, removed);
  topology_->remove_doomed(removed);
  const QueueDefinition& definition = found->second.handle->definition();
  if (is_delay_queue(definition.name)) delay_in(definition, nullptr);
  found->second.handle->mark_deleted();
  topology_->queues.erase(found);
  return removed;
}

Removed VirtualHost::remove_binding(const BindingDefinition& definition) {
  Removed removed;
  Binding* binding = topology_->find_binding(definition);
  if (binding == nullptr) return removed;
  topology_->detach(*binding);
  topology_->remove_doomed(removed);
  return removed;
}

RouteOutcome VirtualHost::route(Exchange& exchange, const RoutingInput& input,
                                std::vector<QueueHandle*>& queues) {
  Topology& topology = *topology_;
  ++topology.route_number;
  topology.visited.clear();
  topology.keepers.clear();
  queues.clear();
  topology.visit(exchange);
  for (std::size_t next = 0; next < topology.visited.size(); ++next) {
    Exchange& asked = *topology.visited[next];
    if (asked.history() != nullptr) topology.keepers.push_back(&asked);
    topology.chosen.clear();
    asked.type().route(input, topology.chosen);
    if (topology.chosen.empty() && !asked.alternate().empty()) {
      Exchange* alternate = find_exchange(asked.alternate());
      if (alternate != nullptr) topology.visit(*alternate);
    }
    for (const Destination& destination : topology.chosen) {
      if (destination.exchange != nullptr) {
        topology.visit(*destination.exchange);
      } else if (destination.queue->route_mark != topology.route_number) {
        destination.queue->route_mark = topology.route_number;
        queues.push_back(destination.queue);
      }
    }
  }
  return {!queues.empty(), topology.keepers};
}

void VirtualHost::check_invariants() const {
  const Topology& topology = *topology_;
  HARRIER_CHECK(topology.doomed.empty());
  HARRIER_CHECK(find_exchange("") != nullptr);
  std::size_t outgoing = 0;
  std::size_t incoming = 0;
  for (const auto& [name, exchange] : topology.exchanges) {
    HARRIER_CHECK(exchange->name() == name);
    HARRIER_CHECK(!exchange->doomed_);
    topology.check_outgoing(*exchange);
    outgoing += exchange->outgoing_.size();
    topology.check_incoming(exchange->incoming_, {nullptr, exchange.get()}, incoming);
  }
  for (const auto& [name, entry] : topology.queues) {
    HARRIER_CHECK(entry.handle->name() == name);
    HARRIER_CHECK(!entry.handle->deleted());
    topology.check_incoming(entry.incoming, {entry.handle.get(), nullptr}, incoming);
  }
  HARRIER_CHECK(outgoing == incoming);
}

}  // namespace harrier
