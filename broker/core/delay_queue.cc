#include "broker/core/delay_queue.h"

#include <fmt/core.h>

#include "broker/core/exchanges/stable_hash.h"
#include "broker/core/queue_argument_table.h"

namespace harrier {
namespace {

// Clients cannot make queues with such a name.
constexpr std::string_view kPrefix = "amq.delayed-";
constexpr std::size_t kNameOctetsMax = 255;
constexpr std::size_t kHashDigits = 17;  // with a dash

}  // namespace

std::string delay_queue_name(std::string_view exchange) {
  std::string name(kPrefix);
  // Whole names are shorter than all that are cut.
  if (name.size() + exchange.size() + kHashDigits <= kNameOctetsMax) return name.append(exchange);
  name.append(exchange.substr(0, kNameOctetsMax - kPrefix.size() - kHashDigits));
  return name + fmt::format("-{:016x}", stable_hash(exchange));
}

bool is_delay_queue(std::string_view queue) {
  return queue.starts_with(kPrefix);
}

std::string delayed_exchange_of(const QueueDefinition& queue) {
  const Value* exchange = queue.arguments.find(kDeadLetterExchangeKey);
  const std::string* name = exchange == nullptr ? nullptr : as_string(*exchange);
  return name == nullptr ? std::string() : *name;
}

QueueDefinition delay_queue_of(const ExchangeDefinition& exchange, std::string_view vhost) {
  QueueDefinition queue;
  queue.name = delay_queue_name(exchange.name);
  queue.vhost = vhost;
  queue.durable = exchange.durable;
  queue.exclusive = true;  // of no connection there is
  queue.arguments.set(kDeadLetterExchangeKey, Value::long_string(exchange.name));
  return queue;
}

}  // namespace harrier
