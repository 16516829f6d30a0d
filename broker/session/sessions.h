#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/auth/access.h"
#include "broker/core/resource_names.h"
#include "broker/runtime/alarms.h"
#include "broker/runtime/shard.h"
#include "broker/session/large_publish.h"
#include "broker/session/session_config.h"

namespace harrier {

class Channel;
class Connection;

// One channel among all of this broker run, wherever it lives: what another shard answers to.
using ChannelId = StrongId<struct ChannelIdTag, std::uint64_t>;

// What the connections of one shard share, and how they are found by those who only have a number.
class Sessions {
 public:
  using Random = std::function<NameRandom()>;

  Sessions(Shard& shard, const Access& access, const SessionConfig& config, Random random);
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  Shard& shard() { return shard_; }

  const Access& access() const { return access_; }

  const SessionConfig& config() const { return config_; }

  NameRandom random() { return random_(); }

  // The sessions of every shard, by shard index; once, before any connection.
  void introduce(std::vector<Sessions*> all) { all_ = std::move(all); }

  Sessions& of(ShardIndex shard) { return *all_[shard]; }

  // Sessions live from their constructor to their destructor.
  void add(Connection& connection);
  void remove(Connection& connection);

  void add(ChannelId id, Channel& channel) { channels_.emplace(id, &channel); }

  void remove(ChannelId id) { channels_.erase(id); }

  Channel* find(ChannelId id) const;

  // Lists that routing a message fills, kept for the next one.
  struct RoutingScratch {
    std::vector<std::string_view> keys;
    std::vector<QueueHandle*> queues;
  };

  RoutingScratch& routing_scratch() { return routing_scratch_; }

  BodiesAhead& bodies_ahead() { return bodies_ahead_; }

  // Resource alarms as this shard knows them. Setting them blocks connections at their next publish
  // or lets the blocked ones go on. O(connections) when they change.
  const Alarms& alarms() const { return alarms_; }

  void set_alarms(const Alarms& alarms);

  std::size_t connection_count() const { return connections_.size(); }

  // Heartbeats and deadlines of every connection; call it every kTickMs. O(connections).
  static constexpr std::int64_t kTickMs = 250;
  void tick();

  // Tells every client that the broker goes down (CONNECTION_FORCED) and stops hearing them.
  void close_all(std::string_view reason);

 private:
  Shard& shard_;
  const Access& access_;
  const SessionConfig& config_;
  Random random_;
  std::vector<Sessions*> all_;
  std::vector<Connection*> connections_;
  std::unordered_map<ChannelId, Channel*> channels_;
  RoutingScratch routing_scratch_;
  BodiesAhead bodies_ahead_;
  Alarms alarms_;
};

}  // namespace harrier
