#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "broker/core/definitions.h"
#include "broker/core/queue_settings.h"

namespace harrier {

// Who made a policy: users shape what they declare, operators bound it. At most one of each holds
// for a queue or exchange.
enum class PolicyKind : std::uint8_t {
  user,
  operators,
};

// Why a policy cannot be, in RabbitMQ's words, which show values as Erlang terms. Several faults
// are joined by newlines. Differs from RabbitMQ: patterns are RE2's.
Result<void, std::string> validate_policy(const PolicyDefinition& policy, PolicyKind kind);

// The policies of one virtual host. Looks at patterns when it is asked, O(policies): once for every
// queue and exchange when it is made, and again when a policy changes; never for a message.
class Policies {
 public:
  Policies();
  ~Policies();
  Policies(const Policies&) = delete;
  Policies& operator=(const Policies&) = delete;

  // `policy` was validated; it replaces the one of its name.
  void set(PolicyKind kind, PolicyDefinition policy);
  // False when there is none of that name.
  bool clear(PolicyKind kind, std::string_view name);

  // Null when there is none of that name.
  const PolicyDefinition* find(PolicyKind kind, std::string_view name) const;
  // The one with the highest priority first; those of one priority by name.
  void each(PolicyKind kind, const std::function<void(const PolicyDefinition&)>& visit) const;

  // The one that holds, or null: the first in the order of each() that applies to it, that its
  // queue type can serve and whose pattern is found in its name.
  const PolicyDefinition* match(PolicyKind kind, const QueueDefinition& queue) const;
  const PolicyDefinition* match(PolicyKind kind, const ExchangeDefinition& exchange) const;

  // What holds for the queue, with its arguments.
  QueueSettings settings_of(const QueueDefinition& queue) const;
  // The queue its dead letters go to by x-dead-letter-queue, said by it or a policy; else empty.
  std::string dead_letter_queue_of(const QueueDefinition& queue) const;
  // Name of the alternate exchange: by the argument, else by policy, else empty.
  std::string alternate_of(const ExchangeDefinition& exchange) const;

 private:
  struct Compiled;
  using Ordered = std::vector<std::unique_ptr<Compiled>>;

  const Ordered& of(PolicyKind kind) const;

  Ordered user_;
  Ordered operators_;
};

}  // namespace harrier
