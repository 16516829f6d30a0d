#include "broker/core/queue_argument_table.h"

#include <algorithm>
#include <chrono>
#include <initializer_list>

#include <fmt/core.h>

#include "broker/core/resource_names.h"

namespace harrier {
namespace {

// Ten years: the longest time RabbitMQ takes, so that a deadline never overflows its timers.
constexpr std::int64_t kMillisecondsMax = 315'360'000'000;
constexpr std::size_t kScheduleMax = 100;
constexpr std::int64_t kCacheSizeMax = 10'000'000;
constexpr double kMultiplierMax = 1000;

constexpr QueueTypeSet kClassic = queue_type_set(QueueType::classic);
constexpr QueueTypeSet kQuorum = queue_type_set(QueueType::quorum);
constexpr QueueTypeSet kStream = queue_type_set(QueueType::stream);
constexpr QueueTypeSet kQueues = kClassic | kQuorum;
constexpr QueueTypeSet kEveryType = kQueues | kStream;
// What this broker runs. A type outside is known, and refused when a queue is created.
constexpr QueueTypeSet kServedTypes = kQueues;

// --- what a value may be

ArgumentFault fault_of_number(std::string_view tag, std::int64_t number) {
  return fmt::format("{{{},{}}}", tag, number);
}

ArgumentFault unacceptable_type(const Value& value) {
  return fmt::format("{{unacceptable_type,{}}}", type_name(value));
}

ArgumentFault not_a(std::string_view wanted, const Value& value) {
  return fmt::format("\"expected {}, got {}\"", wanted, type_name(value));
}

ArgumentFault check_integer(const QueueArgument& row, const Value& value) {
  const std::optional<std::int64_t> number = as_integer(value);
  if (!number) return not_a("integer", value);
  if (*number < 0) return fault_of_number("value_negative", *number);
  if (*number < row.min) return fault_of_number("value_zero", *number);
  if (*number > row.max) return fault_of_number("value_too_large", *number);
  return std::nullopt;
}

ArgumentFault check_signed(const QueueArgument& row, const Value& value) {
  const std::optional<std::int64_t> number = as_integer(value);
  if (!number) return not_a("integer", value);
  if (*number > row.max) return fault_of_number("value_too_large", *number);
  return std::nullopt;
}

ArgumentFault check_priority(const QueueArgument& row, const Value& value) {
  const std::optional<std::int64_t> number = as_integer(value);
  if (number && *number > row.max) return fault_of_number("max_value_exceeded", *number);
  return check_integer(row, value);
}

ArgumentFault check_boolean(const QueueArgument&, const Value& value) {
  if (!as_bool(value)) return unacceptable_type(value);
  return std::nullopt;
}

ArgumentFault check_text(const QueueArgument&, const Value& value) {
  if (as_string(value) == nullptr) return unacceptable_type(value);
  return std::nullopt;
}

ArgumentFault check_word(const Value& value, std::initializer_list<std::string_view> choices,
                         std::string_view fault) {
  const std::string* word = as_string(value);
  if (word == nullptr) return unacceptable_type(value);
  if (std::find(choices.begin(), choices.end(), *word) != choices.end()) return std::nullopt;
  return std::string(fault);
}

// Of an exchange, a queue or a routing key: as long as the wire can say.
ArgumentFault check_name(const QueueArgument&, const Value& value) {
  constexpr std::size_t kShortStringMax = 255;
  const std::string* name = as_string(value);
  if (name == nullptr) return unacceptable_type(value);
  if (name->size() > kShortStringMax) return std::string("longer_than_255_octets");
  return std::nullopt;
}

ArgumentFault check_dead_letter_strategy(const QueueArgument&, const Value& value) {
  return check_word(value, {"at-most-once", "at-least-once"}, "invalid_dlx_strategy");
}

ArgumentFault check_overflow(const QueueArgument&, const Value& value) {
  return check_word(value, {"drop-head", "reject-publish", "reject-publish-dlx"},
                    "invalid_overflow");
}

// Has had no effect since RabbitMQ 3.12, but a wrong one is still refused.
ArgumentFault check_queue_mode(const QueueArgument&, const Value& value) {
  return check_word(value, {"default", "lazy"},
                    fmt::format("\"unsupported queue mode '{}'\"", to_text(value)));
}

ArgumentFault check_queue_version(const QueueArgument& row, const Value& value) {
  const std::optional<std::int64_t> version = as_integer(value);
  if (!version) return not_a("integer", value);
  if (*version >= row.min && *version <= row.max) return std::nullopt;
  return fmt::format("\"unsupported queue version '{}'\"", *version);
}

ArgumentFault check_queue_type(const QueueArgument&, const Value& value) {
  const std::string* name = as_string(value);
  if (name == nullptr) return unacceptable_type(value);
  const std::optional<QueueType> type = queue_type_from(*name);
  if (type && (queue_type_set(*type) & kServedTypes) != 0) return std::nullopt;
  return fmt::format("\"unsupported queue type '{}'\"", *name);
}

ArgumentFault check_leader_locator(const QueueArgument&, const Value& value) {
  return check_word(value, {"client-local", "balanced", "random", "least-leaders"},
                    "invalid_queue_locator_arg");
}

ArgumentFault check_retry_type(const QueueArgument&, const Value& value) {
  return check_word(value, {"disabled", "all", "failed", "returned"}, "invalid_delayed_retry_type");
}

ArgumentFault check_count_mode(const QueueArgument&, const Value& value) {
  return check_word(value, {"returned", "failed", "acquired"}, "invalid_delivery_count_mode");
}

std::optional<double> number_of(const Value& value) {
  if (const auto integer = as_integer(value)) return static_cast<double>(*integer);
  return as_double(value);
}

// Below 1 the delays would shrink.
ArgumentFault check_multiplier(const QueueArgument&, const Value& value) {
  const std::optional<double> number = number_of(value);
  if (!number) return not_a("number", value);
  if (*number < 1) return fmt::format("{{value_too_small,{}}}", to_text(value));
  if (*number > kMultiplierMax) return fmt::format("{{value_too_large,{}}}", to_text(value));
  return std::nullopt;
}

ArgumentFault check_schedule(const QueueArgument& row, const Value& value) {
  const FieldArray* delays = as_array(value);
  if (delays == nullptr) return unacceptable_type(value);
  if (delays->values.empty()) return "empty_schedule";
  if (delays->values.size() > kScheduleMax) return "schedule_too_long";
  for (const Value& delay : delays->values) {
    if (ArgumentFault fault = check_integer(row, delay)) return fault;
  }
  return std::nullopt;
}

ArgumentFault check_queue_name(const QueueArgument&, const Value& value) {
  constexpr std::size_t kNameOctetsMax = 255;
  const std::string* name = as_string(value);
  if (name == nullptr) return unacceptable_type(value);
  if (name->empty() || name->size() > kNameOctetsMax || has_cr_lf(*name) || is_reserved(*name)) {
    return "invalid_queue_name";
  }
  return std::nullopt;
}

constexpr std::string_view kHeaderSource = "header:";

ArgumentFault check_deduplication_source(const QueueArgument&, const Value& value) {
  const std::string* source = as_string(value);
  if (source == nullptr) return unacceptable_type(value);
  if (*source == "message-id" || *source == "body") return std::nullopt;
  if (source->starts_with(kHeaderSource) && source->size() > kHeaderSource.size()) {
    return std::nullopt;
  }
  return "invalid_deduplication_source";
}

ArgumentFault check_deduplication_scope(const QueueArgument&, const Value& value) {
  return check_word(value, {"window", "in-queue"}, "invalid_deduplication_scope");
}

ArgumentFault check_deduplication_action(const QueueArgument&, const Value& value) {
  return check_word(value, {"drop", "replace", "reject"}, "invalid_deduplication_action");
}

ArgumentFault check_deduplication_move(const QueueArgument&, const Value& value) {
  return check_word(value, {"keep", "tail"}, "invalid_deduplication_move");
}

// --- what goes together in one declaration

ArgumentFault needs_dead_letter_exchange(const QueueDefinition& queue) {
  if (queue.arguments.find(kDeadLetterExchangeKey) != nullptr) return std::nullopt;
  return "routing_key_but_no_dlx_defined";
}

ArgumentFault is_the_only_target(const QueueDefinition& queue) {
  if (queue.arguments.find(kDeadLetterExchangeKey) != nullptr) {
    return "dead_letter_queue_and_dlx_defined";
  }
  const Value* target = queue.arguments.find(kDeadLetterQueueKey);
  if (*as_string(*target) == queue.name) return "dead_letter_queue_is_the_queue_itself";
  return std::nullopt;
}

// --- what it sets

std::chrono::milliseconds milliseconds_of(const Value& value) {
  return std::chrono::milliseconds(as_integer(value).value_or(0));
}

std::uint64_t count_of(const Value& value) {
  return static_cast<std::uint64_t>(as_integer(value).value_or(0));
}

// The place of a word among those its enum is declared with, which stand in the same order.
template <class Enum>
Enum word_of(const Value& value, std::initializer_list<std::string_view> words) {
  const auto* const found = std::find(words.begin(), words.end(), *as_string(value));
  return static_cast<Enum>(found - words.begin());
}

void set_overflow(const Value& value, QueueSettings& settings) {
  settings.overflow =
      word_of<Overflow>(value, {"drop-head", "reject-publish", "reject-publish-dlx"});
}

void set_retry_type(const Value& value, QueueSettings& settings) {
  settings.retry.type = word_of<RetryType>(value, {"disabled", "all", "failed", "returned"});
}

void set_count_mode(const Value& value, QueueSettings& settings) {
  settings.delivery_count_mode =
      word_of<DeliveryCountMode>(value, {"returned", "failed", "acquired"});
}

void set_delivery_limit(const Value& value, QueueSettings& settings) {
  const std::int64_t limit = *as_integer(value);
  settings.delivery_limit.reset();
  if (limit >= 0) settings.delivery_limit = static_cast<std::uint32_t>(limit);
}

void set_schedule(const Value& value, QueueSettings& settings) {
  settings.retry.schedule.clear();
  for (const Value& delay : as_array(value)->values)
    settings.retry.schedule.push_back(milliseconds_of(delay));
}

void set_deduplication_source(const Value& value, QueueSettings& settings) {
  const std::string& source = *as_string(value);
  DeduplicationSettings& to = settings.deduplication;
  if (source == "message-id") {
    to.source = DeduplicationSource::message_id;
  } else if (source == "body") {
    to.source = DeduplicationSource::body;
  } else {
    to.source = DeduplicationSource::header;
    to.header = source.substr(kHeaderSource.size());
  }
}

// Setters of members, for the rows that say no more than which.
template <auto kMember>
void set_milliseconds(const Value& value, QueueSettings& settings) {
  settings.*kMember = milliseconds_of(value);
}

template <auto kMember>
void set_count(const Value& value, QueueSettings& settings) {
  settings.*kMember = count_of(value);
}

template <auto kMember>
void set_text(const Value& value, QueueSettings& settings) {
  settings.*kMember = *as_string(value);
}

constexpr bool kAlsoOperator = true;

using S = QueueSettings;

constexpr QueueArgument kQueueArguments[] = {
    // key, check, accepted by, merge, operator policies, noun, what it sets, min, max, fits
    {"x-expires", check_integer, kQueues, Merge::smallest, kAlsoOperator, "queue expiry",
     set_milliseconds<&S::expires>, 1, kMillisecondsMax},
    {"x-message-ttl", check_integer, kQueues, Merge::smallest, kAlsoOperator, "message TTL",
     set_milliseconds<&S::message_ttl>, 0, kMillisecondsMax},
    {kDeadLetterExchangeKey, check_name, kQueues, Merge::first, false, "dead letter exchange name",
     set_text<&S::dead_letter_exchange>},
    {.key = "x-dead-letter-routing-key",
     .check = check_name,
     .accepted_by = kQueues,
     .merge = Merge::first,
     .noun = "dead letter routing key",
     .set = set_text<&S::dead_letter_routing_key>,
     .fits = needs_dead_letter_exchange},
    // Dead letters are moved in one write here: every strategy is at least once.
    {"x-dead-letter-strategy", check_dead_letter_strategy, kQueues, Merge::first, false,
     "dead letter strategy"},
    {"x-max-length", check_integer, kQueues, Merge::smallest, kAlsoOperator, "maximum length",
     set_count<&S::max_length>},
    {"x-max-length-bytes", check_integer, kEveryType, Merge::smallest, kAlsoOperator,
     "maximum length in bytes", set_count<&S::max_length_bytes>},
    {"x-max-in-memory-length", check_integer, kQuorum, Merge::smallest, kAlsoOperator,
     "maximum memory in bytes"},
    {"x-max-in-memory-bytes", check_integer, kQuorum, Merge::smallest, kAlsoOperator,
     "maximum memory in bytes"},
    {.key = "x-max-priority",
     .check = check_priority,
     .accepted_by = kClassic,
     .set = [](const Value& value,
               QueueSettings& to) { to.max_priority = static_cast<std::uint8_t>(count_of(value)); },
     .max = 255},
    {"x-overflow", check_overflow, kQueues, Merge::first, kAlsoOperator, "overflow value",
     set_overflow},
    {"x-queue-mode", check_queue_mode, kClassic, Merge::first, false, "queue-mode value"},
    {"x-queue-version", check_queue_version, kClassic, Merge::first, kAlsoOperator, "queue version",
     nullptr, 1, 2},
    {.key = "x-single-active-consumer",
     .check = check_boolean,
     .accepted_by = kQueues,
     .set = [](const Value& value,
               QueueSettings& to) { to.single_active_consumer = *as_bool(value); }},
    {kQueueTypeKey, check_queue_type, kEveryType},
    {.key = "x-quorum-initial-group-size",
     .check = check_integer,
     .accepted_by = kQuorum,
     .min = 1},
    {"x-delivery-limit", check_signed, kQueues, Merge::smallest_limit, kAlsoOperator,
     "delivery limit", set_delivery_limit, 0, std::numeric_limits<std::uint32_t>::max()},
    {"x-consumer-timeout", check_integer, kQueues, Merge::smallest, false, "consumer timeout",
     set_milliseconds<&S::consumer_timeout>, 0, kMillisecondsMax},
    // There are no other nodes a consumer could be cut off from.
    {"x-consumer-disconnected-timeout", check_integer, kQueues, Merge::smallest, false,
     "consumer disconnected timeout", nullptr, 0, kMillisecondsMax},
    {"x-queue-leader-locator", check_leader_locator, kEveryType, Merge::first, false,
     "queue leader locator value"},
    {"x-queue-master-locator", nullptr, kClassic},  // superseded by the one above, ignored
    {"x-delayed-retry-type", check_retry_type, kQueues, Merge::first, kAlsoOperator,
     "delayed retry type", set_retry_type},
    {"x-delayed-retry-min", check_integer, kQueues, Merge::smallest, kAlsoOperator,
     "delayed retry minimum",
     [](const Value& value, QueueSettings& to) { to.retry.min = milliseconds_of(value); }, 0,
     kMillisecondsMax},
    {"x-delayed-retry-max", check_integer, kQueues, Merge::smallest, kAlsoOperator,
     "delayed retry maximum",
     [](const Value& value, QueueSettings& to) { to.retry.max = milliseconds_of(value); }, 0,
     kMillisecondsMax},
    // Streams are not served yet; their arguments are known so that other types refuse them.
    {.key = "x-initial-cluster-size", .check = check_integer, .accepted_by = kStream, .min = 1},
    {"x-max-age", nullptr, kStream, Merge::first, false, "max age"},
    {"x-stream-max-segment-size-bytes", nullptr, kStream, Merge::first, false, "segment size"},
    {"x-stream-filter-size-bytes", nullptr, kStream, Merge::first, false, "filter size"},

    // Beyond RabbitMQ, which ignores these.
    {"x-delayed-retry-multiplier", check_multiplier, kQueues, Merge::smallest, kAlsoOperator,
     "delayed retry multiplier",
     [](const Value& value, QueueSettings& to) { to.retry.multiplier = number_of(value); }},
    {"x-delayed-retry-jitter", check_integer, kQueues, Merge::smallest, kAlsoOperator,
     "delayed retry jitter",
     [](const Value& value, QueueSettings& to) {
       to.retry.jitter_percent = static_cast<std::uint32_t>(count_of(value));
     },
     0, 100},
    {"x-delayed-retry-schedule", check_schedule, kQueues, Merge::first, kAlsoOperator,
     "delayed retry schedule", set_schedule, 0, kMillisecondsMax},
    {"x-delivery-count-mode", check_count_mode, kQueues, Merge::first, false, "delivery count mode",
     set_count_mode},
    {.key = kDeadLetterQueueKey,
     .check = check_queue_name,
     .accepted_by = kQueues,
     .merge = Merge::first,
     .noun = "dead letter queue name",  // set by settings_of(), which weighs it with the exchange
     .fits = is_the_only_target},
    {"x-message-deduplication", check_boolean, kQueues, Merge::first, false,
     "message deduplication value",
     [](const Value& value, QueueSettings& to) { to.deduplication.enabled = *as_bool(value); }},
    {"x-deduplication-header", check_text, kQueues, Merge::first, false,
     "deduplication header name",
     [](const Value& value, QueueSettings& to) { to.deduplication.header = *as_string(value); }},
    {"x-deduplication-source", check_deduplication_source, kQueues, Merge::first, false,
     "deduplication source", set_deduplication_source},
    {"x-deduplication-scope", check_deduplication_scope, kQueues, Merge::first, false,
     "deduplication scope",
     [](const Value& value, QueueSettings& to) {
       to.deduplication.scope = word_of<DeduplicationScope>(value, {"window", "in-queue"});
     }},
    {"x-deduplication-action", check_deduplication_action, kQueues, Merge::first, false,
     "deduplication action",
     [](const Value& value, QueueSettings& to) {
       to.deduplication.action = word_of<DeduplicationAction>(value, {"drop", "replace", "reject"});
     }},
    {"x-deduplication-move", check_deduplication_move, kQueues, Merge::first, false,
     "deduplication move",
     [](const Value& value, QueueSettings& to) {
       to.deduplication.moves_to_tail = *as_string(value) == "tail";
     }},
    {"x-cache-size", check_integer, kQueues, Merge::smallest, false, "cache size",
     [](const Value& value, QueueSettings& to) { to.deduplication.cache_size = count_of(value); },
     1, kCacheSizeMax},
    {"x-cache-ttl", check_integer, kQueues, Merge::smallest, false, "cache TTL",
     [](const Value& value, QueueSettings& to) {
       to.deduplication.cache_ttl = milliseconds_of(value);
     },
     1, kMillisecondsMax},
};

}  // namespace

std::span<const QueueArgument> queue_arguments() {
  return kQueueArguments;
}

const QueueArgument* find_queue_argument(std::string_view key) {
  for (const QueueArgument& row : kQueueArguments) {
    if (row.key == key) return &row;
  }
  return nullptr;
}

const QueueArgument* find_policy_key(std::string_view policy_key) {
  for (const QueueArgument& row : kQueueArguments) {
    if (row.policy_key() == policy_key && !row.noun.empty()) return &row;
  }
  return nullptr;
}

}  // namespace harrier
