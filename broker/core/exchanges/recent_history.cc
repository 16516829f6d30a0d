#include <algorithm>
#include <string>
#include <utility>

#include "broker/core/exchange_types.h"
#include "broker/core/exchanges/destination_set.h"
#include "broker/core/message_history.h"
#include "protocol/erlang_term.h"
#include "protocol/properties.h"

namespace harrier {
namespace {

constexpr std::string_view kLength = "x-recent-history-length";
constexpr std::string_view kNoStore = "x-recent-history-no-store";
constexpr std::int64_t kDefaultLength = 20;

std::size_t length_of(const ExchangeDefinition& exchange) {
  const Value* length = exchange.arguments.find(kLength);
  if (length == nullptr) return kDefaultLength;
  return static_cast<std::size_t>(as_integer(*length).value_or(kDefaultLength));
}

// RabbitMQ's plugin x-recent-history: a fanout whose last messages also go to whatever is bound
// later.
class RecentHistoryExchange final : public ExchangeType {
 public:
  explicit RecentHistoryExchange(std::size_t length) : history_(length) {}

  void bind(const BindingDefinition&, Destination destination) override {
    destinations_.add(destination);
  }

  void unbind(const BindingDefinition&, Destination destination) override {
    destinations_.remove(destination);
  }

  void route(const RoutingInput&, Destinations& out) const override {
    destinations_.append_to(out);
  }

  MessageHistory* history() override { return &history_; }

 private:
  DestinationSet destinations_;
  MessageHistory history_;
};

}  // namespace

void MessageHistory::keep(MessageRef message) {
  const auto properties = parse_properties(message->properties());
  if (properties && properties->headers) {
    const auto no_store = properties->headers->find(kNoStore);
    if (no_store && as_bool(*no_store) == true) return;
  }
  octets_ += message->footprint();
  messages_.push_back(std::move(message));
  while (messages_.size() > length_ || octets_ > kOctetsMax) {
    octets_ -= messages_.front()->footprint();
    messages_.pop_front();
  }
}

std::unique_ptr<ExchangeType> make_recent_history_exchange(const ExchangeDefinition& definition) {
  return std::make_unique<RecentHistoryExchange>(length_of(definition));
}

Result<void, ProtocolError> validate_recent_history_exchange(const ExchangeDefinition& definition) {
  const Value* const length = definition.arguments.find(kLength);
  if (length == nullptr || as_integer(*length).value_or(0) > 0) return {};
  const std::string* const text = as_string(*length);
  return fail(ProtocolError{ReplyCode::precondition_failed,
                            "Invalid argument " + (text ? erlang_binary(*text) : to_text(*length)) +
                                ", 'x-recent-history-length' must be a positive integer"});
}

}  // namespace harrier
