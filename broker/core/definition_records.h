#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "broker/core/definitions.h"

namespace harrier {

// How definitions are written in the store's records: one per virtual host, exchange, queue and
// binding. Integers are big-endian. A name is length:u16 and at most 255 octets, so that no name
// can imitate another key whatever its octets.
//
// Key: names what is defined; records of one kind, and those of one virtual host, are neighbours.
//
// OFFSET  SIZE  DESCRIPTION
// 0       1     kind: 'v' virtual host, 'x' exchange, 'q' queue, 'b' binding
// 1       2+N   name of the virtual host
//               exchange, queue:
// 3+N     2+M   its name
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
//               exchange:
// 1       1     flags: 1 durable, 2 auto-delete, 4 internal
// 2       2+M   type
// 4+M     4+T   arguments, an AMQP field table
//               queue:
// 1       1     flags: 1 durable, 2 auto-delete, 8 exclusive
// 2       8     queue id
// 10      4     first lane
// 14      4+T   arguments
//               binding:
// 1       4+T   arguments, in the order in which they were given
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
std::string next_lane_record_key();

std::string vhost_record(const VhostDefinition& vhost);
std::string exchange_record(const ExchangeDefinition& exchange);
// Without owner and home, which end with the broker run.
std::string queue_record(const QueueDefinition& queue);
std::string binding_record(const BindingDefinition& binding);
std::string next_lane_record(LaneId next);

// Prefixes for Store::scan_records.
inline constexpr std::string_view kVhostRecords = "v";
inline constexpr std::string_view kExchangeRecords = "x";
inline constexpr std::string_view kQueueRecords = "q";
inline constexpr std::string_view kBindingRecords = "b";
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
std::optional<LaneId> decode_next_lane_record(std::string_view key, std::string_view value);

}  // namespace harrier
