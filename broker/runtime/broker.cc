#include "broker/runtime/broker.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "broker/core/definition_records.h"
#include "broker/core/delay_queue.h"
#include "broker/core/exchange_types.h"
#include "broker/core/message_records.h"
#include "broker/core/queue_lanes.h"
#include "broker/core/resource_names.h"

namespace harrier {
namespace {

constexpr Logger kLog("broker");

StoreError bad_record(std::string_view kind) {
  return {StoreError::Kind::corruption,
          fmt::format("a {} record of the store cannot be read; it was written by a newer Harrier "
                      "or damaged: start with that version, or restore a backup",
                      kind)};
}

bool has_ends(const VirtualHost& vhost, const BindingDefinition& binding) {
  if (vhost.find_exchange(binding.source) == nullptr) return false;
  return binding.destination_kind == DestinationKind::queue
             ? vhost.find_queue(binding.destination) != nullptr
             : vhost.find_exchange(binding.destination) != nullptr;
}

}  // namespace

ShardIndex home_shard(std::string_view vhost, std::string_view queue, ShardIndex shards) {
  const std::size_t hash =
      std::hash<std::string_view>()(queue) ^ (std::hash<std::string_view>()(vhost) * 31);
  return static_cast<ShardIndex>(hash % shards);
}

Broker::Broker(ShardIndex shards, const Clock& clock, Store& store, StoreFailure on_store_failure,
               std::uint64_t queue_memory_bytes)
    : shard_count_(shards), store_(store), on_store_failure_(std::move(on_store_failure)) {
  HARRIER_CHECK(shards >= 1 && shards <= 64);
  for (ShardIndex index = 0; index < shards; ++index) {
    shards_.push_back(
        std::make_unique<Shard>(*this, index, clock, store, queue_memory_bytes / shards));
  }
  control_ = std::make_unique<Control>(*this);
}

Broker::~Broker() = default;

// Reads definitions and messages back, in the order in which they depend on each other.
class Broker::Recovery {
 public:
  Recovery(Broker& broker, LogExchange log_exchange)
      : broker_(broker), store_(broker.store_), log_exchange_(log_exchange) {}

  Result<void, StoreError> run(const std::string& default_vhost) {
    Result<void, StoreError> done = read_definitions();
    if (done) done = read_messages();
    if (!done) return done;
    if (!any_vhost_) {
      broker_.shard(0).batch().put_record(vhost_record_key(default_vhost),
                                          vhost_record({default_vhost}));
      apply({default_vhost, AddVhost{}});
      add_own_exchanges();
    }
    return done;
  }

 private:
  void apply(const TopologyChange& change) {
    for (auto& shard : broker_.shards_)
      shard->apply(change);
  }

  // Hands what `decode` makes of each record to `step`, which says whether it could be applied.
  template <class Decode, class Step>
  Result<void, StoreError> scan(std::string_view prefix, std::string_view kind, Decode decode,
                                Step step) {
    bool all_read = true;
    auto done = store_.scan_records(prefix, [&](std::string_view key, std::string_view value) {
      auto stored = decode(key, value);
      if (stored && step(std::move(*stored))) return;
      all_read = false;
    });
    if (done && !all_read) return fail(bad_record(kind));
    return done;
  }

  Result<void, StoreError> read_definitions() {
    auto done =
        scan(kVhostRecords, "virtual host", decode_vhost_record, [&](VhostDefinition vhost) {
          any_vhost_ = true;
          apply({vhost.name, AddVhost{}});
          apply({vhost.name, SetDefaultQueueType{std::move(vhost.default_queue_type)}});
          return true;
        });
    if (!done) return done;
    // Before what they hold for.
    for (const PolicyKind kind : {PolicyKind::user, PolicyKind::operators}) {
      done = read_policies(kind);
      if (!done) return done;
    }
    done = read_settings();
    if (!done) return done;
    if (any_vhost_) add_own_exchanges();
    done = scan(kExchangeRecords, "exchange", decode_exchange_record,
                [&](Stored<ExchangeDefinition> stored) { return add_exchange(std::move(stored)); });
    if (!done) return done;
    done = read_next_lane();
    if (!done) return done;
    done = scan(kQueueRecords, "queue", decode_queue_record,
                [&](Stored<QueueDefinition> stored) { return add_queue(std::move(stored)); });
    if (!done) return done;
    broker_.control().continue_from(LaneId{next_lane_});
    return scan(kBindingRecords, "binding", decode_binding_record,
                [&](Stored<BindingDefinition> stored) { return add_binding(std::move(stored)); });
  }

  // Topic exchanges through which the broker itself publishes. Before the bindings, which are
  // recorded as for any durable exchange.
  void add_own_exchanges() {
    if (broker_.shard(0).find_vhost(broker_.default_vhost_) == nullptr) return;
    ExchangeDefinition exchange;
    exchange.type = "topic";
    exchange.durable = true;
    exchange.internal = true;
    exchange.name = kEventExchange;
    apply({broker_.default_vhost_, AddExchange{exchange}});
    if (log_exchange_ == LogExchange::none) return;
    exchange.name = kLogExchange;
    apply({broker_.default_vhost_, AddExchange{exchange}});
  }

  Result<void, StoreError> read_policies(PolicyKind kind) {
    const auto decode = [kind](std::string_view key, std::string_view value) {
      return decode_policy_record(kind, key, value);
    };
    return scan(kind == PolicyKind::user ? kPolicyRecords : kOperatorPolicyRecords, "policy",
                decode, [&](Stored<PolicyDefinition> stored) {
                  if (broker_.shard(0).find_vhost(stored.vhost) == nullptr) return false;
                  if (!validate_policy(stored.definition, kind)) return false;
                  apply({std::move(stored.vhost), SetPolicy{kind, std::move(stored.definition)}});
                  return true;
                });
  }

  // What shard 0 alone keeps.
  Result<void, StoreError> read_settings() {
    for (const LimitScope scope : {LimitScope::vhost, LimitScope::user}) {
      const auto decode = [scope](std::string_view key, std::string_view value) {
        return decode_limit_record(scope, key, value);
      };
      auto done = scan(scope == LimitScope::vhost ? kVhostLimitRecords : kUserLimitRecords, "limit",
                       decode, [&](const LimitDefinition& limit) {
                         broker_.control().restore(limit);
                         return true;
                       });
      if (!done) return done;
    }
    for (const std::string_view records : {kParameterRecords, kGlobalParameterRecords}) {
      auto done =
          scan(records, "parameter", decode_parameter_record, [&](ParameterDefinition parameter) {
            broker_.control().restore(std::move(parameter));
            return true;
          });
      if (!done) return done;
    }
    return {};
  }

  // Each answers whether the record makes sense after those before it; what does not was damaged or
  // comes from a newer version.

  bool add_exchange(Stored<ExchangeDefinition> stored) {
    const VirtualHost* vhost = broker_.shard(0).find_vhost(stored.vhost);
    const ExchangeDefinition& exchange = stored.definition;
    if (vhost == nullptr || find_exchange_type(exchange.type) == nullptr) return false;
    if (vhost->find_exchange(exchange.name) != nullptr) return false;
    apply({std::move(stored.vhost), AddExchange{std::move(stored.definition)}});
    return true;
  }

  bool add_queue(Stored<QueueDefinition> stored) {
    const VirtualHost* vhost = broker_.shard(0).find_vhost(stored.vhost);
    QueueDefinition& queue = stored.definition;
    if (vhost == nullptr || vhost->find_queue(queue.name) != nullptr) return false;
    if (is_delay_queue(queue.name) && vhost->find_exchange(delayed_exchange_of(queue)) == nullptr) {
      return false;
    }
    queue.vhost = stored.vhost;
    queue.home = home_shard(stored.vhost, queue.name, broker_.shard_count());
    const std::uint32_t end = queue.lane.value + lane_count(queue);
    for (std::uint32_t lane = queue.lane.value; lane < end; ++lane) {
      if (!add_lane(LaneId{lane}, queue)) return false;
    }
    if (queue.delay_lane == LaneId{}) add_delay_lanes(queue);
    for (std::uint32_t more = 0; more < kDelayLanes; ++more) {
      if (!add_lane(LaneId{queue.delay_lane.value + more}, queue)) return false;
    }
    ++queues_;
    apply({std::move(stored.vhost), AddQueue{std::move(queue)}});
    return true;
  }

  bool add_lane(LaneId lane, const QueueDefinition& queue) {
    next_lane_ = std::max(next_lane_, lane.value + 1);
    return homes_.emplace(lane, std::pair(queue.home, queue.id)).second;
  }

  // For a queue recorded before queues had them: lanes that were never given out.
  void add_delay_lanes(QueueDefinition& queue) {
    queue.delay_lane = LaneId{next_lane_};
    next_lane_ += kDelayLanes;
    StoreBatch& batch = broker_.shard(0).batch();
    batch.put_record(next_lane_record_key(), next_lane_record(LaneId{next_lane_}));
    batch.put_record(queue_record_key(queue.vhost, queue.name), queue_record(queue));
  }

  // An exchange or queue that is not durable takes its bindings with it; so may a crash.
  bool add_binding(Stored<BindingDefinition> stored) {
    const VirtualHost* vhost = broker_.shard(0).find_vhost(stored.vhost);
    if (vhost == nullptr) return false;
    if (!has_ends(*vhost, stored.definition)) return true;
    apply({std::move(stored.vhost), AddBinding{std::move(stored.definition)}});
    return true;
  }

  // Above every lane that was given out: it is recorded before they are.
  Result<void, StoreError> read_next_lane() {
    return scan(kNextLaneRecord, "next lane", decode_next_lane_record, [&](LaneId next) {
      next_lane_ = std::max(next_lane_, next.value);
      return true;
    });
  }

  Queue* queue_of(LaneId lane) {
    const auto found = homes_.find(lane);
    if (found == homes_.end()) return nullptr;
    return broker_.shard(found->second.first).find_queue(found->second.second);
  }

  // A crash may leave records of a queue whose definition is gone: they go too.
  Result<void, StoreError> read_message_records() {
    StoreBatch& batch = broker_.shard(0).batch();
    auto done = scan(
        kDeadlineRecords, "deadline",
        [](std::string_view key, std::string_view) { return decode_deadline_record(key); },
        [&](LaneId lane) {
          Queue* queue = queue_of(lane);
          if (queue == nullptr) batch.delete_record(deadline_record_key(lane));
          if (queue != nullptr) queue->recover_deadlines(lane);
          return true;
        });
    if (!done) return done;
    done = scan(kCountRecords, "delivery count", decode_count_record, [&](CountRecord record) {
      Queue* queue = queue_of(record.lane);
      if (queue == nullptr) batch.delete_record(count_record_key(record.lane, record.seq));
      if (queue != nullptr) queue->recover_count(record.lane, record.seq, record.count);
      return true;
    });
    if (!done) return done;
    done = scan(kDelayRecords, "delay", decode_delay_record, [&](const DelayRecord& record) {
      Queue* queue = queue_of(record.lane);
      if (queue == nullptr) batch.delete_record(delay_record_key(record.lane, record.seq));
      if (queue != nullptr) queue->recover_delayed(record);
      return true;
    });
    if (!done) return done;
    return scan(kKeyRecords, "message key", decode_key_record, [&](const KeyRecord& record) {
      Queue* queue = queue_of(record.queue);
      if (queue == nullptr) batch.delete_record(key_record_key(record.queue, record.key));
      if (queue != nullptr) queue->recover_key(record);
      return true;
    });
  }

  Result<void, StoreError> read_messages() {
    std::vector<LaneId> lanes;
    lanes.reserve(homes_.size());
    for (const auto& [lane, home] : homes_)
      lanes.push_back(lane);
    std::sort(lanes.begin(), lanes.end());
    if (auto done = read_message_records(); !done) return done;
    const auto recovered = store_.recover_lanes(lanes);
    if (!recovered) return fail(recovered.error());
    std::uint64_t messages = 0;
    for (const RecoveredLane& lane : *recovered) {
      Queue* queue = queue_of(lane.lane);
      if (queue == nullptr) continue;
      queue->recover(lane);
      messages += lane.tally.entries;
    }
    kLog.info("recovered {} durable queues with {} messages", queues_, messages);
    return {};
  }

  Broker& broker_;
  Store& store_;
  const LogExchange log_exchange_;
  std::unordered_map<LaneId, std::pair<ShardIndex, QueueId>> homes_;
  std::size_t queues_ = 0;
  std::uint32_t next_lane_ = 1;
  bool any_vhost_ = false;
};

Result<void, StoreError> Broker::recover(const std::string& default_vhost,
                                         LogExchange log_exchange) {
  default_vhost_ = default_vhost;
  return Recovery(*this, log_exchange).run(default_vhost);
}

}  // namespace harrier
