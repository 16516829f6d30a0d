#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "broker/core/definitions.h"
#include "broker/core/queue_handle.h"
#include "protocol/field_table.h"
#include "protocol/properties.h"
#include "protocol/reply_code.h"

namespace harrier {

class Exchange;
class MessageHistory;

// Where a binding leads: exactly one of the two is set.
struct Destination {
  QueueHandle* queue = nullptr;
  Exchange* exchange = nullptr;

  friend bool operator==(const Destination&, const Destination&) = default;
};

// What routing looks at.
struct RoutingInput {
  // The publish routing key, then the CC and BCC keys.
  std::span<const std::string_view> routing_keys;
  // Headers of the message; an empty view when it has none. Decoded only by those who need it.
  TableView headers;
  // All its properties; null counts as none.
  const PropertiesView* properties = nullptr;
};

// A reused list of destinations: an exchange type appends, the caller removes doubles.
using Destinations = std::vector<Destination>;

// The part of an exchange that differs by type: an index over its bindings. Shard confined; one
// instance per exchange and shard.
class ExchangeType {
 public:
  virtual ~ExchangeType() = default;

  // Refuses a binding this type cannot serve (PRECONDITION_FAILED). Changes nothing.
  virtual Result<void, ProtocolError> validate_binding(const BindingDefinition& binding,
                                                       Destination destination) const;
  // `binding` is new to this exchange and passed validate_binding(). The same object comes back in
  // unbind() and lives until then.
  virtual void bind(const BindingDefinition& binding, Destination destination) = 0;
  virtual void unbind(const BindingDefinition& binding, Destination destination) = 0;
  // Appends every destination whose binding matches, doubles allowed. The cost must not depend on
  // the number of bindings that do not match, wherever the type permits it, and nothing may be
  // allocated once reused memory has its size.
  virtual void route(const RoutingInput& input, Destinations& out) const = 0;

  // For a type that keeps what it is sent, for those who bind later; null for all others. Always
  // the same.
  virtual MessageHistory* history() { return nullptr; }

  // For a type that delays: where (delay_queue.h); null when that is gone.
  virtual void delay_in(QueueHandle* /*queue*/) {}
};

struct Binding;
// Bindings that lead to one queue or exchange, oldest first.
using IncomingBindings = std::list<Binding*>;

// A binding in its three places: the list of its source (which owns it), the index of its source
// and the list of its destination. Each can be left in O(1).
struct Binding {
  BindingDefinition definition;
  std::string canonical_arguments;  // see arguments.h: two bindings with equal ones are the same
  Exchange* source = nullptr;
  Destination destination;

  std::list<Binding>::iterator outgoing_place;
  IncomingBindings* incoming = nullptr;
  IncomingBindings::iterator incoming_place;
};

// What tells the bindings of one exchange apart. Views, for the time of a look-up.
struct BindingIdentityView {
  DestinationKind destination_kind;
  std::string_view destination;
  std::string_view routing_key;
  std::string_view canonical_arguments;

  friend bool operator==(const BindingIdentityView&, const BindingIdentityView&) = default;
};

// Hash and equality of bindings by identity, for look-ups without a Binding at hand.
struct BindingHash {
  using is_transparent = void;
  std::size_t operator()(const BindingIdentityView& identity) const;
  std::size_t operator()(const Binding* binding) const;
};

struct BindingEqual {
  using is_transparent = void;
  bool operator()(const Binding* a, const Binding* b) const;
  bool operator()(const BindingIdentityView& a, const Binding* b) const;

  bool operator()(const Binding* a, const BindingIdentityView& b) const { return (*this)(b, a); }
};

// One shard's replica of an exchange. Owned by VirtualHost, which keeps its bindings.
class Exchange {
 public:
  Exchange(ExchangeDefinition definition, std::unique_ptr<ExchangeType> type);

  const ExchangeDefinition& definition() const { return definition_; }

  const std::string& name() const { return definition_.name; }

  const ExchangeType& type() const { return *type_; }

  MessageHistory* history() const { return history_; }

  // Name of the alternate exchange, by argument or policy; empty when there is none.
  const std::string& alternate() const { return alternate_; }

  // Bindings that start here.
  std::size_t binding_count() const { return outgoing_.size(); }

  std::uint64_t route_mark = 0;  // see QueueHandle::route_mark

 private:
  friend class VirtualHost;

  Binding* find(const BindingIdentityView& identity) const;
  Binding& attach(Binding binding, IncomingBindings& incoming);
  // Returns the definition; the binding is gone from all its places.
  BindingDefinition detach(Binding& binding);

  ExchangeDefinition definition_;
  std::unique_ptr<ExchangeType> type_;
  MessageHistory* history_;  // of type_, null for most
  std::string alternate_;
  std::list<Binding> outgoing_;  // oldest first
  std::unordered_set<Binding*, BindingHash, BindingEqual> index_;
  IncomingBindings incoming_;
  bool doomed_ = false;  // chosen for removal in the change going on
};

}  // namespace harrier
