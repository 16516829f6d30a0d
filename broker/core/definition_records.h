#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "broker/core/definitions.h"
#include "broker/core/policies.h"

namespace harrier {

// How definitions are written in the store's records: one per virtual host, exchange, queue,
// binding, policy, limit
// and runtime parameter. Integers are big-endian. A name is length:u16 and at most 255 octets, so
// that no name can imitate another key whatever its octets.
//
// Key: names what is defined; records of one kind, and those of one virtual host, are neighbours.
//
// OFFSET  SIZE  DESCRIPTION
// 0       1     kind: 'v' virtual host, 'x' exchange, 'q' queue, 'b' binding, 'p' policy,
//               'o' operator policy, 'r' runtime parameter, 'g' global parameter,
//               'm' limit of a virtual host, 'u' limit of a user
// 1       2+N   name of the virtual host; of the user; of the component of a global parameter, ""
//               exchange, queue, policy, operator policy, limit, global parameter:
// 3+N     2+M   its name
//               runtime parameter:
// 3+N     2+M   its component
// ...     2+M   its name
//               binding:
// 3+N     2+M   name of the source
// ...     1     destination kind: 'q' queue, 'x' exchange
// ...     2+M   name of the destination
// ...     2+M   routing key
// ...     rest  canonical arguments (arguments.h), none when there are no arguments
//
// Value: all else.
//
// OFFSET  SIZE  DESCRIPTION
// 0       1     version, 1
//               virtual host: nothing, or
// 1       2+M   default queue type
//               exchange:
// 1       1     flags: 1 durable, 2 auto-delete, 4 internal
// 2       2+M   type
// 4+M     4+T   arguments, an AMQP field table
//               queue:
// 1       1     flags: 1 durable, 2 auto-delete, 8 exclusive, 16 has a lane of delayed messages
// 2       8     queue id
// 10      4     first lane
// 14      4+T   arguments
// 18+T    4     if flag 16: the lane of delayed messages, before that of retries
//               binding:
// 1       4+T   arguments, in the order in which they were given
//               policy, operator policy:
// 1       4     priority, in two's complement
// 5       2+M   apply-to
// ...     4+P   pattern
// ...     4+T   definition, an AMQP field table
//               runtime parameter, global parameter:
// 1       4+V   value, a JSON document
//               limit:
// 1       8     its value, in two's complement
//
// One more record keeps the next free lane:
//
// OFFSET  SIZE  DESCRIPTION
// key 0   1     'l'
// value 0 1     version, 1
// 1       4     the lowest lane that was never given to a queue

std::string vhost_record_key(std::string_view vhost);
std::string exchange_record_key(std::string_view vhost, std::string_view exchange);
std::string queue_record_key(std::string_view vhost, std::string_view queue);
std::string binding_record_key(std::string_view vhost, const BindingDefinition& binding);
std::string policy_record_key(PolicyKind kind, std::string_view vhost, std::string_view policy);
std::string limit_record_key(const LimitDefinition& limit);
std::string parameter_record_key(const ParameterDefinition& parameter);
std::string next_lane_record_key();

std::string vhost_record(const VhostDefinition& vhost);
std::string exchange_record(const ExchangeDefinition& exchange);
// Without owner and home, which end with the broker run.
std::string queue_record(const QueueDefinition& queue);
std::string binding_record(const BindingDefinition& binding);
std::string policy_record(const PolicyDefinition& policy);
std::string limit_record(const LimitDefinition& limit);
std::string parameter_record(const ParameterDefinition& parameter);
std::string next_lane_record(LaneId next);

// Prefixes for Store::scan_records.
inline constexpr std::string_view kVhostRecords = "v";
inline constexpr std::string_view kExchangeRecords = "x";
inline constexpr std::string_view kQueueRecords = "q";
inline constexpr std::string_view kBindingRecords = "b";
inline constexpr std::string_view kPolicyRecords = "p";
inline constexpr std::string_view kOperatorPolicyRecords = "o";
inline constexpr std::string_view kParameterRecords = "r";
inline constexpr std::string_view kGlobalParameterRecords = "g";
inline constexpr std::string_view kVhostLimitRecords = "m";
inline constexpr std::string_view kUserLimitRecords = "u";
inline constexpr std::string_view kNextLaneRecord = "l";

// A definition and the virtual host it belongs to.
template <class Definition>
struct Stored {
  std::string vhost;
  Definition definition;
};

// Nothing when the octets are not such a record, or one of a newer version.
std::optional<VhostDefinition> decode_vhost_record(std::string_view key, std::string_view value);
std::optional<Stored<ExchangeDefinition>> decode_exchange_record(std::string_view key,
                                                                 std::string_view value);
std::optional<Stored<QueueDefinition>> decode_queue_record(std::string_view key,
                                                           std::string_view value);
std::optional<Stored<BindingDefinition>> decode_binding_record(std::string_view key,
                                                               std::string_view value);
std::optional<Stored<PolicyDefinition>> decode_policy_record(PolicyKind kind, std::string_view key,
                                                             std::string_view value);
std::optional<LimitDefinition> decode_limit_record(LimitScope scope, std::string_view key,
                                                   std::string_view value);
// Either kind: `key` tells.
std::optional<ParameterDefinition> decode_parameter_record(std::string_view key,
                                                           std::string_view value);
std::optional<LaneId> decode_next_lane_record(std::string_view key, std::string_view value);

}  // namespace harrier
