#include "broker/core/definition_records.h"

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "base/bytes.h"
#include "broker/core/arguments.h"

namespace harrier {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kNameOctetsMax = 255;

constexpr unsigned kDurable = 1;
constexpr unsigned kAutoDelete = 2;
constexpr unsigned kInternal = 4;
constexpr unsigned kExclusive = 8;
constexpr unsigned kDelayLane = 16;

unsigned flag_if(bool set, unsigned flag) {
  return set ? flag : 0;
}

template <std::unsigned_integral T>
void append_integer(T value, std::string& out) {
  for (std::size_t octet = sizeof(T); octet-- > 0;) {
    out.push_back(static_cast<char>(std::uint64_t{value} >> (8 * octet)));
  }
}

void append_name(std::string_view name, std::string& out) {
  HARRIER_CHECK(name.size() <= kNameOctetsMax);
  append_integer(static_cast<std::uint16_t>(name.size()), out);
  out.append(name);
}

void append_text(std::string_view text, std::string& out) {
  append_integer(static_cast<std::uint32_t>(text.size()), out);
  out.append(text);
}

void append_table(const FieldTable& table, std::string& out) {
  Buffer octets;
  table.encode(octets);
  out.append(octets.view());
}

std::string key_of(std::string_view kind, std::string_view vhost) {
  std::string key(kind);
  append_name(vhost, key);
  return key;
}

std::string named_key(std::string_view kind, std::string_view vhost, std::string_view name) {
  std::string key = key_of(kind, vhost);
  append_name(name, key);
  return key;
}

std::string new_value() {
  std::string value;
  append_integer(kVersion, value);
  return value;
}

void append_flags(unsigned flags, std::string& out) {
  append_integer(static_cast<std::uint8_t>(flags), out);
}

// Record octets come from the disk: every read is checked, failure is sticky. WireReader is part
// of what field_table.h offers.
std::string read_name(WireReader& reader) {
  const std::size_t size = reader.u16();
  if (size > kNameOctetsMax) reader.fail();
  return std::string(reader.octets(size));
}

void expect(WireReader& reader, std::uint8_t octet) {
  if (reader.u8() != octet) reader.fail();
}

unsigned read_flags(WireReader& reader, unsigned known) {
  const unsigned flags = reader.u8();
  if ((flags & ~known) != 0) reader.fail();
  return flags;
}

FieldTable read_table(WireReader& reader) {
  std::optional<FieldTable> table = FieldTable::decode(reader.long_string());
  if (!table) reader.fail();
  return table ? std::move(*table) : FieldTable();
}

// The cursors after kind and version.
struct RecordReader {
  RecordReader(std::string_view kind, std::string_view key_octets, std::string_view value_octets)
      : key(key_octets), value(value_octets) {
    expect(key, static_cast<std::uint8_t>(kind.front()));
    expect(value, kVersion);
  }

  bool complete() const { return key.ok() && key.at_end() && value.ok() && value.at_end(); }

  WireReader key;
  WireReader value;
};

std::string_view records_of(PolicyKind kind) {
  return kind == PolicyKind::user ? kPolicyRecords : kOperatorPolicyRecords;
}

std::string_view records_of(LimitScope scope) {
  return scope == LimitScope::vhost ? kVhostLimitRecords : kUserLimitRecords;
}

constexpr char kToQueue = 'q';
constexpr char kToExchange = 'x';

DestinationKind read_destination_kind(WireReader& reader) {
  const char kind = static_cast<char>(reader.u8());
  if (kind != kToQueue && kind != kToExchange) reader.fail();
  return kind == kToExchange ? DestinationKind::exchange : DestinationKind::queue;
}

}  // namespace

std::string vhost_record_key(std::string_view vhost) {
  return key_of(kVhostRecords, vhost);
}

std::string exchange_record_key(std::string_view vhost, std::string_view exchange) {
  return named_key(kExchangeRecords, vhost, exchange);
}

std::string queue_record_key(std::string_view vhost, std::string_view queue) {
  return named_key(kQueueRecords, vhost, queue);
}

std::string binding_record_key(std::string_view vhost, const BindingDefinition& binding) {
  std::string key = named_key(kBindingRecords, vhost, binding.source);
  key.push_back(binding.destination_kind == DestinationKind::queue ? kToQueue : kToExchange);
  append_name(binding.destination, key);
  append_name(binding.routing_key, key);
  key += canonical_arguments(binding.arguments);
  return key;
}

std::string policy_record_key(PolicyKind kind, std::string_view vhost, std::string_view policy) {
  return named_key(records_of(kind), vhost, policy);
}

std::string limit_record_key(const LimitDefinition& limit) {
  return named_key(records_of(limit.scope), limit.subject, limit.name);
}

std::string parameter_record_key(const ParameterDefinition& parameter) {
  if (parameter.component.empty()) return named_key(kGlobalParameterRecords, "", parameter.name);
  std::string key = named_key(kParameterRecords, parameter.vhost, parameter.component);
  append_name(parameter.name, key);
  return key;
}

std::string next_lane_record_key() {
  return std::string(kNextLaneRecord);
}

std::string vhost_record(const VhostDefinition& vhost) {
  std::string value = new_value();
  if (!vhost.default_queue_type.empty()) append_name(vhost.default_queue_type, value);
  return value;
}

std::string exchange_record(const ExchangeDefinition& exchange) {
  std::string value = new_value();
  append_flags(flag_if(exchange.durable, kDurable) | flag_if(exchange.auto_delete, kAutoDelete) |
                   flag_if(exchange.internal, kInternal),
               value);
  append_name(exchange.type, value);
  append_table(exchange.arguments, value);
  return value;
}

std::string queue_record(const QueueDefinition& queue) {
  std::string value = new_value();
  append_flags(flag_if(queue.durable, kDurable) | flag_if(queue.auto_delete, kAutoDelete) |
                   flag_if(queue.exclusive, kExclusive) |
                   flag_if(queue.delay_lane != LaneId{}, kDelayLane),
               value);
  append_integer(queue.id.value, value);
  append_integer(queue.lane.value, value);
  append_table(queue.arguments, value);
  if (queue.delay_lane != LaneId{}) append_integer(queue.delay_lane.value, value);
  return value;
}

std::string binding_record(const BindingDefinition& binding) {
  std::string value = new_value();
  append_table(binding.arguments, value);
  return value;
}

std::string policy_record(const PolicyDefinition& policy) {
  std::string value = new_value();
  append_integer(static_cast<std::uint32_t>(policy.priority), value);
  append_name(policy.apply_to, value);
  append_text(policy.pattern, value);
  append_table(policy.definition, value);
  return value;
}

std::string limit_record(const LimitDefinition& limit) {
  std::string value = new_value();
  append_integer(static_cast<std::uint64_t>(limit.value), value);
  return value;
}

std::string parameter_record(const ParameterDefinition& parameter) {
  std::string value = new_value();
  append_text(parameter.value, value);
  return value;
}

std::string next_lane_record(LaneId next) {
  std::string value = new_value();
  append_integer(next.value, value);
  return value;
}

std::optional<VhostDefinition> decode_vhost_record(std::string_view key, std::string_view value) {
  RecordReader record(kVhostRecords, key, value);
  VhostDefinition vhost;
  vhost.name = read_name(record.key);
  if (!record.value.at_end()) vhost.default_queue_type = read_name(record.value);
  if (!record.complete()) return std::nullopt;
  return vhost;
}

std::optional<Stored<ExchangeDefinition>> decode_exchange_record(std::string_view key,
                                                                 std::string_view value) {
  RecordReader record(kExchangeRecords, key, value);
  Stored<ExchangeDefinition> stored;
  stored.vhost = read_name(record.key);
  ExchangeDefinition& exchange = stored.definition;
  exchange.name = read_name(record.key);
  const unsigned flags = read_flags(record.value, kDurable | kAutoDelete | kInternal);
  exchange.durable = (flags & kDurable) != 0;
  exchange.auto_delete = (flags & kAutoDelete) != 0;
  exchange.internal = (flags & kInternal) != 0;
  exchange.type = read_name(record.value);
  exchange.arguments = read_table(record.value);
  if (!record.complete()) return std::nullopt;
  return stored;
}

std::optional<Stored<QueueDefinition>> decode_queue_record(std::string_view key,
                                                           std::string_view value) {
  RecordReader record(kQueueRecords, key, value);
  Stored<QueueDefinition> stored;
  stored.vhost = read_name(record.key);
  QueueDefinition& queue = stored.definition;
  queue.vhost = stored.vhost;
  queue.name = read_name(record.key);
  const unsigned flags = read_flags(record.value, kDurable | kAutoDelete | kExclusive | kDelayLane);
  queue.durable = (flags & kDurable) != 0;
  queue.auto_delete = (flags & kAutoDelete) != 0;
  queue.exclusive = (flags & kExclusive) != 0;
  queue.id = QueueId{record.value.u64()};
  queue.lane = LaneId{record.value.u32()};
  queue.arguments = read_table(record.value);
  if ((flags & kDelayLane) != 0) {
    queue.delay_lane = LaneId{record.value.u32()};
    if (queue.delay_lane == LaneId{}) return std::nullopt;
  }
  if (!record.complete()) return std::nullopt;
  return stored;
}

std::optional<Stored<BindingDefinition>> decode_binding_record(std::string_view key,
                                                               std::string_view value) {
  RecordReader record(kBindingRecords, key, value);
  Stored<BindingDefinition> stored;
  stored.vhost = read_name(record.key);
  BindingDefinition& binding = stored.definition;
  binding.source = read_name(record.key);
  binding.destination_kind = read_destination_kind(record.key);
  binding.destination = read_name(record.key);
  binding.routing_key = read_name(record.key);
  binding.arguments = read_table(record.value);
  // The rest of the key only tells bindings apart; it must be what these arguments give.
  if (record.key.rest() != canonical_arguments(binding.arguments)) return std::nullopt;
  if (!record.complete()) return std::nullopt;
  return stored;
}

std::optional<Stored<PolicyDefinition>> decode_policy_record(PolicyKind kind, std::string_view key,
                                                             std::string_view value) {
  RecordReader record(records_of(kind), key, value);
  Stored<PolicyDefinition> stored;
  stored.vhost = read_name(record.key);
  PolicyDefinition& policy = stored.definition;
  policy.name = read_name(record.key);
  policy.priority = static_cast<std::int32_t>(record.value.u32());
  policy.apply_to = read_name(record.value);
  policy.pattern = record.value.long_string();
  policy.definition = read_table(record.value);
  if (!record.complete()) return std::nullopt;
  return stored;
}

std::optional<LimitDefinition> decode_limit_record(LimitScope scope, std::string_view key,
                                                   std::string_view value) {
  RecordReader record(records_of(scope), key, value);
  LimitDefinition limit;
  limit.scope = scope;
  limit.subject = read_name(record.key);
  limit.name = read_name(record.key);
  limit.value = static_cast<std::int64_t>(record.value.u64());
  if (!record.complete()) return std::nullopt;
  return limit;
}

std::optional<ParameterDefinition> decode_parameter_record(std::string_view key,
                                                           std::string_view value) {
  const bool is_global = key.starts_with(kGlobalParameterRecords);
  RecordReader record(is_global ? kGlobalParameterRecords : kParameterRecords, key, value);
  ParameterDefinition parameter;
  parameter.vhost = read_name(record.key);
  if (!is_global) parameter.component = read_name(record.key);
  parameter.name = read_name(record.key);
  parameter.value = record.value.long_string();
  if (!record.complete()) return std::nullopt;
  return parameter;
}

std::optional<LaneId> decode_next_lane_record(std::string_view key, std::string_view value) {
  RecordReader record(kNextLaneRecord, key, value);
  const LaneId next{record.value.u32()};
  if (!record.complete()) return std::nullopt;
  return next;
}

}  // namespace harrier
