#include "base/assert.h"
#include "broker/core/exchange_types.h"
#include "broker/core/exchanges/destination_set.h"
#include "broker/core/name_hash.h"

namespace harrier {
namespace {

// A binding matches when its key equals one of the message's, octet by octet. AMQP 0-9-1 §3.1.3.1.
class DirectExchange final : public ExchangeType {
 public:
  void bind(const BindingDefinition& binding, Destination destination) override {
    keys_[binding.routing_key].add(destination);
  }

  void unbind(const BindingDefinition& binding, Destination destination) override {
    const auto found = keys_.find(binding.routing_key);
    HARRIER_CHECK(found != keys_.end());
    found->second.remove(destination);
    if (found->second.empty()) keys_.erase(found);
  }

  void route(const RoutingInput& input, Destinations& out) const override {
    for (const std::string_view key : input.routing_keys) {
      const auto found = keys_.find(key);
      if (found != keys_.end()) found->second.append_to(out);
    }
  }

 private:
  NameMap<DestinationSet> keys_;
};

}  // namespace

std::unique_ptr<ExchangeType> make_direct_exchange(const ExchangeDefinition&) {
  return std::make_unique<DirectExchange>();
}

}  // namespace harrier
