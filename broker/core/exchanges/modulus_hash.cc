#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/assert.h"
#include "broker/core/exchange_types.h"
#include "broker/core/exchanges/stable_hash.h"

namespace harrier {
namespace {

// One destination per message: the hash of its routing keys, modulo the number of destinations,
// is the place in their sorted list. Binding keys are ignored. As RabbitMQ's x-modulus-hash, with
// another hash. A new destination moves nearly every key; x-consistent-hash moves few.
//
// O(1) per message. bind and unbind are O(destinations).
class ModulusHashExchange final : public ExchangeType {
 public:
  void bind(const BindingDefinition& binding, Destination destination) override {
    const auto place = find(binding);
    if (place != members_.end() && place->destination == destination) {
      ++place->bindings;
    } else {
      members_.insert(place, {binding.destination_kind, binding.destination, destination, 1});
    }
  }

  void unbind(const BindingDefinition& binding, Destination destination) override {
    const auto place = find(binding);
    HARRIER_CHECK(place != members_.end() && place->destination == destination);
    if (--place->bindings == 0) members_.erase(place);
  }

  void route(const RoutingInput& input, Destinations& out) const override {
    if (members_.empty()) return;
    std::uint64_t hash = 0;
    for (const std::string_view key : input.routing_keys)
      hash = stable_hash(key, hash);
    out.push_back(members_[hash % members_.size()].destination);
  }

 private:
  struct Member {
    DestinationKind kind;
    std::string name;
    Destination destination;
    std::size_t bindings;
  };

  using Members = std::vector<Member>;

  // Where the destination is or would be.
  Members::iterator find(const BindingDefinition& binding) {
    return std::lower_bound(members_.begin(), members_.end(), binding,
                            [](const Member& member, const BindingDefinition& wanted) {
                              if (member.kind != wanted.destination_kind) {
                                return member.kind < wanted.destination_kind;
                              }
                              return member.name < wanted.destination;
                            });
  }

  Members members_;  // by kind and name
};

}  // namespace

std::unique_ptr<ExchangeType> make_modulus_hash_exchange(const ExchangeDefinition&) {
  return std::make_unique<ModulusHashExchange>();
}

}  // namespace harrier
