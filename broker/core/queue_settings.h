#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "broker/core/definitions.h"

namespace harrier {

// What a queue does when a publish would exceed max-length or max-length-bytes.
enum class Overflow : std::uint8_t {
  drop_head,           // accepts it and lets the oldest ready messages go
  reject_publish,      // refuses it: basic.nack to a publisher that confirms
  reject_publish_dlx,  // refuses it and dead-letters it
};

// Which returns of a message count towards delivery-limit.
enum class DeliveryCountMode : std::uint8_t {
  returned,  // nack and reject with requeue, and every loss of a channel or broker
  failed,    // likewise, but for nack
  acquired,  // every delivery
};

// Which returns of a message are delayed before it is delivered again.
enum class RetryType : std::uint8_t {
  disabled,
  all,
  failed,    // reject with requeue, and losses
  returned,  // nack with requeue
};

// How long a message waits before its next delivery; n is its delivery count, the failure included.
struct RetrySettings {
  RetryType type = RetryType::disabled;  // whenever neither min nor schedule is given
  std::chrono::milliseconds min{0};
  std::chrono::milliseconds max{0};                 // as min when not given
  std::optional<double> multiplier;                 // none: min * n; else min * multiplier^(n-1)
  std::uint32_t jitter_percent = 0;                 // of the delay, taken off at random
  std::vector<std::chrono::milliseconds> schedule;  // not empty: replaces min, max and multiplier;
                                                    // the last one repeats

  friend bool operator==(const RetrySettings&, const RetrySettings&) = default;
};

// What makes two messages the same to a queue that takes each only once.
enum class DeduplicationSource : std::uint8_t {
  header,
  message_id,
  body,
};

// How long a message stands in the way of another with its key.
enum class DeduplicationScope : std::uint8_t {
  window,    // for cache_ttl, and while it is among the last cache_size
  in_queue,  // until it has left the queue
};

// What becomes of the later one.
enum class DeduplicationAction : std::uint8_t {
  drop,     // confirmed all the same
  replace,  // takes the place of the earlier one
  reject,   // basic.nack to a publisher that confirms
};

struct DeduplicationSettings {
  bool enabled = false;
  DeduplicationSource source = DeduplicationSource::header;
  std::string header = "x-deduplication-header";  // where source is that
  DeduplicationScope scope = DeduplicationScope::window;
  DeduplicationAction action = DeduplicationAction::drop;
  bool moves_to_tail = false;  // a message that replaces another, instead of keeping its place
  std::uint64_t cache_size = 128;
  std::optional<std::chrono::milliseconds> cache_ttl;

  friend bool operator==(const DeduplicationSettings&, const DeduplicationSettings&) = default;
};

// What holds for one queue now: its arguments and the policies that match it, merged. Every key of
// a policy is an argument's without "x-".
struct QueueSettings {
  std::optional<std::chrono::milliseconds> message_ttl;
  std::optional<std::chrono::milliseconds> expires;  // at least 1 ms
  std::optional<std::uint64_t> max_length;           // ready messages
  std::optional<std::uint64_t> max_length_bytes;     // octets of their bodies
  Overflow overflow = Overflow::drop_head;
  std::optional<std::string> dead_letter_exchange;  // "" is the default exchange
  std::optional<std::string> dead_letter_routing_key;
  std::optional<std::uint32_t> delivery_limit;  // deliveries that may fail before the last one
  DeliveryCountMode delivery_count_mode = DeliveryCountMode::returned;
  RetrySettings retry;
  std::optional<std::chrono::milliseconds> consumer_timeout;
  DeduplicationSettings deduplication;

  // By declaration only: fixed for the life of the queue.
  std::uint8_t max_priority = 0;  // 0: one level, priorities are ignored
  bool single_active_consumer = false;
  bool active_by_priority = false;  // a consumer of higher priority becomes the active one

  // Whether deliveries are counted and told (x-delivery-count).
  bool counts_deliveries() const {
    return delivery_limit.has_value() || retry.type != RetryType::disabled;
  }

  friend bool operator==(const QueueSettings&, const QueueSettings&) = default;
};

// A policy or an operator policy: settings for the queues and exchanges of a virtual host whose
// name matches.
struct PolicyDefinition {
  std::string name;
  std::string pattern;   // RE2, found anywhere in the name
  std::string apply_to;  // all, queues, classic_queues, quorum_queues, streams or exchanges
  std::int32_t priority = 0;
  FieldTable definition;
};

// Of a quorum queue that sets none: RabbitMQ's default since 4.0.
inline constexpr std::uint32_t kQuorumDeliveryLimit = 20;

// The arguments of `queue`, which were validated, merged with the policy and the operator policy
// that match it (null: none does). Numbers: the smallest (delivery-limit: negative is no limit);
// else the operator policy wins, then the argument, then the policy. x-dead-letter-queue stands for
// a dead letter exchange "" and that routing key; what the argument says of either hides what
// policies say of both. Values that make no sense, which a policy never holds, count as absent.
QueueSettings settings_of(const QueueDefinition& queue, const PolicyDefinition* policy,
                          const PolicyDefinition* operator_policy);

// The queue named by x-dead-letter-queue, by the argument or by the policy, where it counts; empty
// when none is. Control declares it together with the queue.
std::string dead_letter_queue_of(const QueueDefinition& queue, const PolicyDefinition* policy);

}  // namespace harrier
