#include "broker/core/queue_settings.h"

#include <algorithm>
#include <utility>

#include "broker/core/arguments.h"
#include "broker/core/queue_argument_table.h"

namespace harrier {
namespace {

// What one setting was given by each of those who may.
struct Given {
  const Value* by_argument = nullptr;
  const Value* by_policy = nullptr;
  const Value* by_operator = nullptr;
};

// Null too for a value that an older version took and this one does not.
const Value* find_sound(const QueueArgument& row, const FieldTable& table, std::string_view key) {
  const Value* value = table.find(key);
  if (value == nullptr || row.check == nullptr) return value;
  return row.check(row, *value) ? nullptr : value;
}

const Value* find_in_policy(const QueueArgument& row, const PolicyDefinition* policy) {
  if (policy == nullptr || row.merge == Merge::declared_only) return nullptr;
  return find_sound(row, policy->definition, row.policy_key());
}

bool is_less(const Value& a, const Value& b) {
  const auto integer_a = as_integer(a);
  const auto integer_b = as_integer(b);
  if (integer_a && integer_b) return *integer_a < *integer_b;
  const auto number = [](const Value& value) {
    const auto integer = as_integer(value);
    return integer ? static_cast<double>(*integer) : as_double(value).value_or(0);
  };
  return number(a) < number(b);
}

// A negative limit gives way to any other.
bool is_less_limit(const Value& a, const Value& b) {
  const std::int64_t limit_a = *as_integer(a);
  const std::int64_t limit_b = *as_integer(b);
  if ((limit_a < 0) != (limit_b < 0)) return limit_b < 0;
  return limit_a < limit_b;
}

// Whether `value` holds in place of one whose giver comes first.
bool goes_before(Merge how, const Value& value, const Value& first) {
  switch (how) {
    case Merge::smallest:
      return is_less(value, first);
    case Merge::smallest_limit:
      return is_less_limit(value, first);
    case Merge::declared_only:
    case Merge::first:
      return false;
  }
  return false;
}

const Value* merge(Merge how, const Given& given) {
  const Value* chosen = nullptr;
  for (const Value* value : {given.by_operator, given.by_argument, given.by_policy}) {
    if (value == nullptr) continue;
    if (chosen == nullptr || goes_before(how, *value, *chosen)) chosen = value;
  }
  return chosen;
}

void complete_retry(RetrySettings& retry, bool has_min, bool has_max) {
  if (!has_max) retry.max = retry.min;
  retry.max = std::max(retry.max, retry.min);
  if (!has_min && retry.schedule.empty()) retry.type = RetryType::disabled;
}

// What RabbitMQ does otherwise in quorum queues.
void adapt_to_quorum(QueueSettings& settings) {
  settings.active_by_priority = settings.single_active_consumer;
  if (settings.overflow == Overflow::reject_publish_dlx) settings.overflow = Overflow::drop_head;
}

}  // namespace

QueueSettings settings_of(const QueueDefinition& queue, const PolicyDefinition* policy,
                          const PolicyDefinition* operator_policy) {
  const QueueType type = queue_type_of(queue);
  QueueSettings settings;
  if (type == QueueType::quorum) settings.delivery_limit = kQuorumDeliveryLimit;
  bool has_retry_min = false;
  bool has_retry_max = false;
  for (const QueueArgument& row : queue_arguments()) {
    if (row.set == nullptr || (row.accepted_by & queue_type_set(type)) == 0) continue;
    const Value* value =
        merge(row.merge, {find_sound(row, queue.arguments, row.key), find_in_policy(row, policy),
                          find_in_policy(row, operator_policy)});
    if (value == nullptr) continue;
    row.set(*value, settings);
    if (row.key == "x-delayed-retry-min") has_retry_min = true;
    if (row.key == "x-delayed-retry-max") has_retry_max = true;
  }
  if (type == QueueType::quorum) adapt_to_quorum(settings);
  complete_retry(settings.retry, has_retry_min, has_retry_max);
  if (std::string target = dead_letter_queue_of(queue, policy); !target.empty()) {
    settings.dead_letter_exchange = "";
    settings.dead_letter_routing_key = std::move(target);
  }
  return settings;
}

std::string dead_letter_queue_of(const QueueDefinition& queue, const PolicyDefinition* policy) {
  const QueueArgument& row = *find_queue_argument(kDeadLetterQueueKey);
  const Value* target = find_sound(row, queue.arguments, row.key);
  const bool has_exchange = queue.arguments.find(kDeadLetterExchangeKey) != nullptr;
  if (target == nullptr && !has_exchange) target = find_in_policy(row, policy);
  // A policy for every queue is also one for the queue that it names.
  if (target == nullptr || *as_string(*target) == queue.name) return {};
  return *as_string(*target);
}

}  // namespace harrier
