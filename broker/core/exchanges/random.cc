#include <cstdint>
#include <random>

#include "broker/core/arguments.h"
#include "broker/core/exchange_types.h"
#include "broker/core/exchanges/destination_set.h"
#include "broker/core/exchanges/stable_hash.h"

namespace harrier {
namespace {

auto refuse(std::string text) {
  return fail(ProtocolError{ReplyCode::precondition_failed, std::move(text)});
}

// Each message goes to one of the destinations, all equally likely; keys are ignored. RabbitMQ's
// plugin x-random.
class RandomExchange : public ExchangeType {
 public:
  void bind(const BindingDefinition&, Destination destination) override {
    destinations_.add(destination);
  }

  void unbind(const BindingDefinition&, Destination destination) override {
    destinations_.remove(destination);
  }

  void route(const RoutingInput&, Destinations& out) const override {
    if (destinations_.empty()) return;
    out.push_back(destinations_[next_random() % destinations_.size()]);
  }

 private:
  // SplitMix64: good enough to share load, and a few instructions.
  std::uint64_t next_random() const { return stable_mix(state_ += 0x9e3779b97f4a7c15ULL); }

  DestinationSet destinations_;
  // Of route(), on the one shard that owns the exchange.
  mutable std::uint64_t state_ = std::random_device()();
};

// x-local-random prefers queues of the node that the message came to. All are here; what is left is
// what RabbitMQ lets nobody bind.
class LocalRandomExchange final : public RandomExchange {
 public:
  Result<void, ProtocolError> validate_binding(const BindingDefinition& binding,
                                               Destination destination) const override {
    if (!binding.routing_key.empty()) {
      return refuse("Non empty binding '" + binding.routing_key + "' key not permitted");
    }
    if (destination.queue == nullptr) return refuse("Destination not found");
    const QueueType type = queue_type_of(destination.queue->definition());
    if (type == QueueType::classic) return {};
    return refuse("Queue type " + std::string(queue_type_name(type)) +
                  " not valid for this exchange type");
  }
};

}  // namespace

std::unique_ptr<ExchangeType> make_random_exchange(const ExchangeDefinition&) {
  return std::make_unique<RandomExchange>();
}

std::unique_ptr<ExchangeType> make_local_random_exchange(const ExchangeDefinition&) {
  return std::make_unique<LocalRandomExchange>();
}

}  // namespace harrier
