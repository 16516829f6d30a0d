#include "base/assert.h"
#include "broker/core/exchange_types.h"
#include "broker/core/exchanges/destination_set.h"
#include "broker/core/exchanges/topic_trie.h"

namespace harrier {
namespace {

// A binding's key is a pattern of words: `*` stands for one word, `#` for any number of them.
// AMQP 0-9-1 §3.1.3.3. RabbitMQ's late 4.3 patches limit a pattern to two `#`; here any number is
// welcome because it costs nothing (see TopicTrie).
class TopicExchange final : public ExchangeType {
 public:
  void bind(const BindingDefinition& binding, Destination destination) override {
    patterns_.leaf(binding.routing_key).add(destination);
  }

  void unbind(const BindingDefinition& binding, Destination destination) override {
    DestinationSet* destinations = patterns_.find(binding.routing_key);
    HARRIER_CHECK(destinations != nullptr);
    destinations->remove(destination);
    if (destinations->empty()) patterns_.prune(binding.routing_key);
  }

  void route(const RoutingInput& input, Destinations& out) const override {
    for (const std::string_view key : input.routing_keys) {
      patterns_.match(key,
                      [&out](const DestinationSet& destinations) { destinations.append_to(out); });
    }
  }

 private:
  TopicTrie<DestinationSet> patterns_;
};

}  // namespace

std::unique_ptr<ExchangeType> make_topic_exchange(const ExchangeDefinition&) {
  return std::make_unique<TopicExchange>();
}

}  // namespace harrier
