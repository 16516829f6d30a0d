#include <memory>
#include <string>
#include <utility>

#include "broker/core/delay_queue.h"
#include "broker/core/exchange_types.h"
#include "protocol/delay_headers.h"

namespace harrier {
namespace {

constexpr std::string_view kInnerType = "x-delayed-type";

const ExchangeTypeEntry* inner_type_of(const ExchangeDefinition& exchange) {
  const Value* type = exchange.arguments.find(kInnerType);
  const std::string* name = type == nullptr ? nullptr : as_string(*type);
  return name == nullptr ? nullptr : find_exchange_type(*name);
}

ProtocolError precondition(std::string text) {
  return {ReplyCode::precondition_failed, std::move(text)};
}

// RabbitMQ's plugin x-delayed-message: routes as its inner type, what has a positive x-delay when
// that is over. Until then it is in the delay queue.
class DelayedExchange final : public ExchangeType {
 public:
  explicit DelayedExchange(std::unique_ptr<ExchangeType> inner) : inner_(std::move(inner)) {}

  Result<void, ProtocolError> validate_binding(const BindingDefinition& binding,
                                               Destination destination) const override {
    return inner_->validate_binding(binding, destination);
  }

  void bind(const BindingDefinition& binding, Destination destination) override {
    inner_->bind(binding, destination);
  }

  void unbind(const BindingDefinition& binding, Destination destination) override {
    inner_->unbind(binding, destination);
  }

  void route(const RoutingInput& input, Destinations& out) const override {
    if (delay_queue_ != nullptr && !input.headers.empty()) {
      const DelayHeaders said = read_delay_headers(input.headers, Timestamp{});
      const bool is_delayed = read_exchange_delay(input.headers) > Milliseconds(0);
      if (is_delayed || said.cancels) out.push_back({delay_queue_, nullptr});
      if (is_delayed) return;
    }
    inner_->route(input, out);
  }

  void delay_in(QueueHandle* queue) override { delay_queue_ = queue; }

 private:
  std::unique_ptr<ExchangeType> inner_;
  QueueHandle* delay_queue_ = nullptr;
};

}  // namespace

std::unique_ptr<ExchangeType> make_delayed_exchange(const ExchangeDefinition& definition) {
  return std::make_unique<DelayedExchange>(inner_type_of(definition)->make(definition));
}

Result<void, ProtocolError> validate_delayed_exchange(const ExchangeDefinition& definition) {
  const Value* type = definition.arguments.find(kInnerType);
  const std::string* name = type == nullptr ? nullptr : as_string(*type);
  if (name == nullptr) {
    return fail(
        precondition("Invalid argument, 'x-delayed-type' must be an existing exchange type"));
  }
  if (*name == kDelayedExchangeType) {
    return fail(
        precondition("Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'"));
  }
  const ExchangeTypeEntry* inner = find_exchange_type(*name);
  if (inner == nullptr) return fail(precondition("unknown exchange type '" + *name + "'"));
  return inner->validate == nullptr ? Result<void, ProtocolError>() : inner->validate(definition);
}

}  // namespace harrier
