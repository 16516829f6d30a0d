#include "broker/core/exchange.h"

#include <iterator>
#include <utility>

#include "base/assert.h"
#include "broker/core/name_hash.h"

namespace harrier {
namespace {

BindingIdentityView identity_of(const Binding& binding) {
  return {binding.definition.destination_kind, binding.definition.destination,
          binding.definition.routing_key, binding.canonical_arguments};
}

}  // namespace

Result<void, ProtocolError> ExchangeType::validate_binding(const BindingDefinition&,
                                                           Destination) const {
  return {};
}

std::size_t BindingHash::operator()(const BindingIdentityView& identity) const {
  const NameHash hash;
  std::size_t seed = static_cast<std::size_t>(identity.destination_kind);
  seed = hash_combine(seed, hash(identity.destination));
  seed = hash_combine(seed, hash(identity.routing_key));
  return hash_combine(seed, hash(identity.canonical_arguments));
}

std::size_t BindingHash::operator()(const Binding* binding) const {
  return (*this)(identity_of(*binding));
}

bool BindingEqual::operator()(const Binding* a, const Binding* b) const {
  return identity_of(*a) == identity_of(*b);
}

bool BindingEqual::operator()(const BindingIdentityView& a, const Binding* b) const {
  return a == identity_of(*b);
}

Exchange::Exchange(ExchangeDefinition definition, std::unique_ptr<ExchangeType> type)
    : definition_(std::move(definition)), type_(std::move(type)), history_(type_->history()) {}

Binding* Exchange::find(const BindingIdentityView& identity) const {
  const auto found = index_.find(identity);
  return found == index_.end() ? nullptr : *found;
}

Binding& Exchange::attach(Binding binding, IncomingBindings& incoming) {
  Binding& attached = outgoing_.emplace_back(std::move(binding));
  attached.source = this;
  attached.outgoing_place = std::prev(outgoing_.end());
  attached.incoming = &incoming;
  attached.incoming_place = incoming.insert(incoming.end(), &attached);
  const bool is_new = index_.insert(&attached).second;
  HARRIER_CHECK(is_new);
  type_->bind(attached.definition, attached.destination);
  return attached;
}

BindingDefinition Exchange::detach(Binding& binding) {
  HARRIER_CHECK(binding.source == this);
  type_->unbind(binding.definition, binding.destination);
  index_.erase(&binding);
  binding.incoming->erase(binding.incoming_place);
  BindingDefinition definition = std::move(binding.definition);
  outgoing_.erase(binding.outgoing_place);
  return definition;
}

}  // namespace harrier
