#include "broker/core/exchange_types.h"
#include "broker/core/exchanges/destination_set.h"

namespace harrier {
namespace {

// Every binding matches; keys and arguments are ignored. AMQP 0-9-1 §3.1.3.2.
class FanoutExchange final : public ExchangeType {
 public:
  void bind(const BindingDefinition&, Destination destination) override {
    destinations_.add(destination);
  }

  void unbind(const BindingDefinition&, Destination destination) override {
    destinations_.remove(destination);
  }

  void route(const RoutingInput&, Destinations& out) const override {
    destinations_.append_to(out);
  }

 private:
  DestinationSet destinations_;
};

}  // namespace

std::unique_ptr<ExchangeType> make_fanout_exchange(const ExchangeDefinition&) {
  return std::make_unique<FanoutExchange>();
}

}  // namespace harrier
