#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "broker/core/definitions.h"
#include "protocol/reply_code.h"

namespace harrier {

// What the connections of one user, or in one virtual host, take. Shared by all shards.
struct Usage {
  std::atomic<std::int64_t> connections{0};  // counted up on shard 0, down by any permit
  std::atomic<std::int64_t> channels{0};     // both by the permits, on any shard
  std::atomic<std::int64_t> channels_max{
      -1};  // written on shard 0, read by permits; negative: none
};

// A connection's share of what limits count; gives it back when it is destroyed, on any shard.
class ConnectionPermit {
 public:
  ConnectionPermit() = default;
  ConnectionPermit(std::shared_ptr<Usage> vhost, std::shared_ptr<Usage> user);
  ~ConnectionPermit();
  ConnectionPermit(ConnectionPermit&& other) noexcept;
  ConnectionPermit& operator=(ConnectionPermit&& other) noexcept;

  // Nothing when the channel was counted, else the user's limit, which is reached.
  std::optional<std::int64_t> open_channel();
  // One that was counted.
  void close_channel();

 private:
  std::shared_ptr<Usage> vhost_;
  std::shared_ptr<Usage> user_;
  std::int64_t channels_ = 0;
};

// The limits of virtual hosts and users, and what they have in use. Shard 0 only.
class Limits {
 public:
  // PRECONDITION_FAILED in RabbitMQ's words: virtual hosts have max-connections and max-queues,
  // users max-connections and max-channels.
  static Result<void, ProtocolError> validate(const LimitDefinition& limit);

  void set(const LimitDefinition& limit);
  // False when there is none.
  bool clear(const LimitDefinition& limit);
  // In the order of scope, subject and name.
  void each(const std::function<void(const LimitDefinition&)>& visit) const;

  // connection.open: NOT_ALLOWED when a limit is reached, first the virtual host's.
  Result<ConnectionPermit, ProtocolError> admit(const std::string& vhost, const std::string& user);
  // queue.declare of `queue`, which would be `more` queues: PRECONDITION_FAILED.
  Result<void, ProtocolError> check_queues(const std::string& vhost, std::string_view queue,
                                           std::size_t present, std::size_t more) const;

 private:
  using Usages = std::map<std::string, std::shared_ptr<Usage>, std::less<>>;

  // Nothing where there is no limit: a negative one is none.
  std::optional<std::int64_t> find(LimitScope scope, const std::string& subject,
                                   std::string_view name) const;
  std::shared_ptr<Usage> usage_of(LimitScope scope, const std::string& subject);
  void tell_permits(const std::string& user);

  std::map<std::pair<LimitScope, std::string>, std::map<std::string, std::int64_t, std::less<>>>
      limits_;
  // One for each virtual host and user that ever connected.
  Usages vhosts_;
  Usages users_;
};

}  // namespace harrier
