#include "broker/core/policies.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "base/assert.h"
#include "broker/core/arguments.h"
#include "broker/core/delay_queue.h"
#include "broker/core/queue_argument_table.h"
#include "protocol/erlang_term.h"

namespace harrier {
namespace {

std::unique_ptr<re2::RE2> compile(std::string_view pattern) {
  re2::RE2::Options options;
  options.set_encoding(re2::RE2::Options::EncodingLatin1);  // names are octets, not always UTF-8
  options.set_log_errors(false);
  return std::make_unique<re2::RE2>(re2::StringPiece(pattern.data(), pattern.size()), options);
}

// --- apply-to

struct AppliesTo {
  std::string_view name;
  bool exchanges;
  QueueTypeSet queues;
};

constexpr QueueTypeSet kEveryQueue = queue_type_set(QueueType::classic) |
                                     queue_type_set(QueueType::quorum) |
                                     queue_type_set(QueueType::stream);

constexpr AppliesTo kAppliesTo[] = {
    {"all", true, kEveryQueue},
    {"queues", false, kEveryQueue},
    {"classic_queues", false, queue_type_set(QueueType::classic)},
    {"quorum_queues", false, queue_type_set(QueueType::quorum)},
    {"streams", false, queue_type_set(QueueType::stream)},
    {"exchanges", true, 0},
};

const AppliesTo* find_applies_to(std::string_view name) {
  const auto* const found = std::ranges::find(kAppliesTo, name, &AppliesTo::name);
  return found == std::end(kAppliesTo) ? nullptr : found;
}

// --- values as `~tp` of Erlang prints what came in JSON

std::string erlang_text(const Value& value);

std::string erlang_fields(const FieldTable& table, std::string_view arrow) {
  std::string text;
  for (const Field& field : table) {
    if (!text.empty()) text += ',';
    text += erlang_binary(field.key);
    text += arrow;
    text += erlang_text(field.value);
  }
  return text;
}

std::string erlang_text(const Value& value) {
  if (const std::string* text = as_string(value)) return erlang_binary(*text);
  if (const FieldTable* table = as_table(value)) {
    return "#{" + erlang_fields(*table, " => ") + "}";
  }
  const FieldArray* array = as_array(value);
  if (array == nullptr) return value.type() == FieldType::nothing ? "null" : to_text(value);
  std::string text;
  for (const Value& element : array->values) {
    if (!text.empty()) text += ',';
    text += erlang_text(element);
  }
  return "[" + text + "]";
}

// --- the definition

// What a policy may say that no queue argument does.
struct OtherKey {
  std::string_view key;
  bool in_operator_policies;
  std::string_view noun;
  bool (*is_valid)(const Value& value);
};

constexpr OtherKey kOtherKeys[] = {
    {kAlternateExchange, false, "alternate exchange name",
     [](const Value& value) { return as_string(value) != nullptr; }},
    // One node is all there is to place replicas on.
    {"target-group-size", true, "target quorum queue group size",
     [](const Value& value) { return as_integer(value).value_or(0) > 0; }},
};

enum class Known : std::uint8_t {
  no,
  yes,
};

using Judged = Result<Known, std::string>;

auto not_valid(const Value& value, std::string_view noun) {
  return fail(fmt::format("{} is not a valid {}", erlang_text(value), noun));
}

Judged judge(const Field& field, PolicyKind kind) {
  const bool for_operators = kind == PolicyKind::operators;
  if (const QueueArgument* row = find_policy_key(field.key)) {
    if (for_operators && !row->in_operator_policies) return Known::no;
    if (row->check != nullptr && row->check(*row, field.value)) {
      return not_valid(field.value, row->noun);
    }
    return Known::yes;
  }
  const auto* const other = std::ranges::find(kOtherKeys, field.key, &OtherKey::key);
  if (other == std::end(kOtherKeys)) return Known::no;
  if (for_operators && !other->in_operator_policies) return Known::no;
  if (!other->is_valid(field.value)) return not_valid(field.value, other->noun);
  return Known::yes;
}

// Nothing, or the first fault.
std::optional<std::string> fault_of_definition(const FieldTable& definition, PolicyKind kind) {
  if (definition.empty()) return "no policy provided";
  std::string unknown;
  for (const Field& field : definition) {
    const Judged known = judge(field, kind);
    if (!known) return known.error();
    if (*known == Known::yes) continue;
    if (!unknown.empty()) unknown += ',';
    unknown += "{" + erlang_binary(field.key) + "," + erlang_text(field.value) + "}";
  }
  if (!unknown.empty()) return "[" + unknown + "] are not recognised policy settings";
  const bool has_queue = definition.find("dead-letter-queue") != nullptr;
  for (const char* key : {"dead-letter-exchange", "dead-letter-routing-key"}) {
    if (has_queue && definition.find(key) != nullptr) {
      return fmt::format("dead-letter-queue and {} exclude each other", key);
    }
  }
  return std::nullopt;
}

// The queue types that know all the settings of a policy: it is as if it were not there for others.
QueueTypeSet served_by(const FieldTable& definition) {
  QueueTypeSet types = kEveryQueue;
  for (const Field& field : definition) {
    if (const QueueArgument* row = find_policy_key(field.key)) types &= row->accepted_by;
  }
  return types;
}

}  // namespace

Result<void, std::string> validate_policy(const PolicyDefinition& policy, PolicyKind kind) {
  std::string faults;
  const auto add = [&faults](const std::string& fault) {
    if (!faults.empty()) faults += '\n';
    faults += fault;
  };
  const auto pattern = compile(policy.pattern);
  if (!pattern->ok()) {
    add(fmt::format("pattern should be regular expression but is invalid: {}",
                    erlang_string(pattern->error())));
  }
  if (find_applies_to(policy.apply_to) == nullptr) {
    add(
        fmt::format("apply-to '{}' unrecognised; should be one of: 'queues', 'classic_queues',  "
                    "'quorum_queues', 'streams', 'exchanges', or 'all'",
                    policy.apply_to));
  }
  if (auto fault = fault_of_definition(policy.definition, kind)) add(*fault);
  if (!faults.empty()) return fail(std::move(faults));
  return {};
}

struct Policies::Compiled {
  PolicyDefinition definition;
  std::unique_ptr<re2::RE2> pattern;
  bool exchanges = false;
  QueueTypeSet queues = 0;

  bool is_found_in(std::string_view name) const {
    return re2::RE2::PartialMatch(re2::StringPiece(name.data(), name.size()), *pattern);
  }
};

Policies::Policies() = default;

Policies::~Policies() = default;

const Policies::Ordered& Policies::of(PolicyKind kind) const {
  return kind == PolicyKind::user ? user_ : operators_;
}

void Policies::set(PolicyKind kind, PolicyDefinition policy) {
  clear(kind, policy.name);
  const AppliesTo* applies_to = find_applies_to(policy.apply_to);
  HARRIER_CHECK(applies_to != nullptr);
  auto compiled = std::make_unique<Compiled>();
  compiled->pattern = compile(policy.pattern);
  HARRIER_CHECK(compiled->pattern->ok());
  compiled->exchanges = applies_to->exchanges;
  compiled->queues = applies_to->queues & served_by(policy.definition);
  compiled->definition = std::move(policy);
  Ordered& all = kind == PolicyKind::user ? user_ : operators_;
  const auto goes_before = [](const auto& a, const auto& b) {
    if (a->definition.priority != b->definition.priority) {
      return a->definition.priority > b->definition.priority;
    }
    return a->definition.name < b->definition.name;
  };
  const auto place = std::lower_bound(all.begin(), all.end(), compiled, goes_before);
  all.insert(place, std::move(compiled));
}

bool Policies::clear(PolicyKind kind, std::string_view name) {
  Ordered& all = kind == PolicyKind::user ? user_ : operators_;
  return std::erase_if(all, [name](const auto& one) { return one->definition.name == name; }) > 0;
}

const PolicyDefinition* Policies::find(PolicyKind kind, std::string_view name) const {
  for (const auto& one : of(kind)) {
    if (one->definition.name == name) return &one->definition;
  }
  return nullptr;
}

void Policies::each(PolicyKind kind,
                    const std::function<void(const PolicyDefinition&)>& visit) const {
  for (const auto& one : of(kind))
    visit(one->definition);
}

const PolicyDefinition* Policies::match(PolicyKind kind, const QueueDefinition& queue) const {
  const QueueTypeSet type = queue_type_set(queue_type_of(queue));
  for (const auto& one : of(kind)) {
    if ((one->queues & type) != 0 && one->is_found_in(queue.name)) return &one->definition;
  }
  return nullptr;
}

const PolicyDefinition* Policies::match(PolicyKind kind, const ExchangeDefinition& exchange) const {
  for (const auto& one : of(kind)) {
    if (one->exchanges && one->is_found_in(exchange.name)) return &one->definition;
  }
  return nullptr;
}

QueueSettings Policies::settings_of(const QueueDefinition& queue) const {
  if (is_delay_queue(queue.name)) return harrier::settings_of(queue, nullptr, nullptr);
  return harrier::settings_of(queue, match(PolicyKind::user, queue),
                              match(PolicyKind::operators, queue));
}

std::string Policies::dead_letter_queue_of(const QueueDefinition& queue) const {
  return harrier::dead_letter_queue_of(queue, match(PolicyKind::user, queue));
}

std::string Policies::alternate_of(const ExchangeDefinition& exchange) const {
  if (exchange.name.empty()) return {};  // RabbitMQ: the default exchange has none
  if (const std::string_view named = alternate_exchange(exchange.arguments); !named.empty()) {
    return std::string(named);
  }
  const PolicyDefinition* policy = match(PolicyKind::user, exchange);
  return policy == nullptr ? std::string() : std::string(alternate_exchange(policy->definition));
}

}  // namespace harrier
