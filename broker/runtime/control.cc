#include "broker/runtime/control.h"

#include <utility>

#include "base/assert.h"
#include "broker/core/definition_records.h"
#include "broker/core/delay_queue.h"
#include "broker/core/queue_lanes.h"
#include "broker/core/resource_names.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/events.h"
#include "broker/runtime/shard.h"

namespace harrier {
namespace {

// Lanes are reserved this many at a time, so that a declare seldom writes the reservation.
constexpr std::uint32_t kLanesReserved = 1024;

// Ids of queues that are not durable start here; those of durable ones are their lane.
constexpr std::uint64_t kFirstTransientId = std::uint64_t{1} << 32;

}  // namespace

// A change that some shard or the disk has not seen yet.
struct Control::Change {
  std::size_t shares_left = 0;
  std::vector<Task> when_done;
};

Control::Control(Broker& broker) : broker_(broker) {}

Control::~Control() = default;

Shard& Control::shard0() {
  return broker_.shard(0);
}

void Control::run_on_control(Shard& from, Task task) {
  if (from.index() == 0) {
    task();
  } else {
    from.send(0, std::move(task));
  }
}

void Control::declare_exchange(Shard& from, std::string vhost, ExchangeDefinition wanted,
                               Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), wanted = std::move(wanted),
                        done = std::move(done)]() mutable {
    const auto found = shard0().find_vhost(vhost)->check_declare(wanted);
    if (!found) return answer(from, std::move(done), fail(found.error()));
    if (*found != nullptr) return answer(from, std::move(done), {});
    if (wanted.type == kDelayedExchangeType) {
      if (shard0().find_vhost(vhost)->find_queue(delay_queue_name(wanted.name)) != nullptr) {
        return answer(from, std::move(done),
                      fail(ProtocolError{ReplyCode::precondition_failed,
                                         exchange_text(wanted.name, vhost) +
                                             " needs a queue whose name another exchange's has: "
                                             "choose a shorter name"}));
      }
      create_queue(shard0(), delay_queue_of(wanted, vhost), false,
                   [](const Result<void, ProtocolError>&) {});
    }
    commit(from, {std::move(vhost), AddExchange{std::move(wanted)}}, std::move(done));
  });
}

void Control::delete_exchange(Shard& from, std::string vhost, std::string name, bool if_unused,
                              Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), name = std::move(name), if_unused,
                        done = std::move(done)]() mutable {
    const auto found = shard0().find_vhost(vhost)->check_delete_exchange(name, if_unused);
    if (!found) return answer(from, std::move(done), fail(found.error()));
    if (*found == nullptr) return answer(from, std::move(done), {});
    commit(from, {std::move(vhost), RemoveExchange{std::move(name)}}, std::move(done));
  });
}

void Control::declare_queue(Shard& from, std::string vhost, QueueDefinition wanted,
                            ConnectionId connection, bool near_declarer, Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), wanted = std::move(wanted),
                        connection, near_declarer, done = std::move(done)]() mutable {
    const auto found = shard0().find_vhost(vhost)->check_declare(wanted, connection);
    if (!found) return answer(from, std::move(done), fail(found.error()));
    if (*found != nullptr) return answer(from, std::move(done), {});
    const VirtualHost& host = *shard0().find_vhost(vhost);
    const std::string dead_letters = host.policies().dead_letter_queue_of(wanted);
    const bool needs_another = !dead_letters.empty() && host.find_queue(dead_letters) == nullptr;
    const auto allowed =
        limits_.check_queues(vhost, wanted.name, host.queue_count(), needs_another ? 2 : 1);
    if (!allowed) return answer(from, std::move(done), fail(allowed.error()));
    if (needs_another) {
      const auto made = create_dead_letter_queue(vhost, dead_letters);
      HARRIER_CHECK(made);  // there is room for both
    }
    wanted.vhost = std::move(vhost);
    create_queue(from, std::move(wanted), near_declarer, std::move(done));
  });
}

void Control::create_queue(Shard& from, QueueDefinition wanted, bool near_declarer, Done done) {
  wanted.home =
      near_declarer ? from.index() : home_shard(wanted.vhost, wanted.name, broker_.shard_count());
  if (wanted.durable) {
    wanted.lane = take_lane();
    for (std::uint32_t more = lane_count(wanted); more > 1; --more)
      take_lane();
    wanted.delay_lane = take_lane();
    for (std::uint32_t more = kDelayLanes; more > 1; --more)
      take_lane();
    wanted.id = QueueId{wanted.lane.value};
  } else {
    wanted.id = QueueId{kFirstTransientId + ++last_transient_};
  }
  std::string vhost = wanted.vhost;
  commit(from, {std::move(vhost), AddQueue{std::move(wanted)}}, std::move(done));
}

Result<void, ProtocolError> Control::create_dead_letter_queue(const std::string& vhost,
                                                              const std::string& name) {
  const VirtualHost& host = *shard0().find_vhost(vhost);
  if (host.find_queue(name) != nullptr) return {};
  if (auto allowed = limits_.check_queues(vhost, name, host.queue_count(), 1); !allowed) {
    return allowed;
  }
  QueueDefinition wanted;
  wanted.name = name;
  wanted.durable = true;
  wanted = host.with_default_type(std::move(wanted));
  wanted.vhost = vhost;
  create_queue(shard0(), std::move(wanted), false, [](const Result<void, ProtocolError>&) {});
  return {};
}

void Control::delete_queue(Shard& from, std::string vhost, std::string name, QueueId id,
                           Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), name = std::move(name), id,
                        done = std::move(done)]() mutable {
    VirtualHost* host = shard0().find_vhost(vhost);
    const QueueHandle* found = host == nullptr ? nullptr : host->find_queue(name);
    if (found == nullptr || found->id() != id) return answer(from, std::move(done), {});
    commit(from, {std::move(vhost), RemoveQueue{std::move(name)}}, std::move(done));
  });
}

void Control::bind(Shard& from, std::string vhost, BindingDefinition wanted,
                   ConnectionId connection, Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), wanted = std::move(wanted),
                        connection, done = std::move(done)]() mutable {
    const auto is_new = shard0().find_vhost(vhost)->check_bind(wanted, connection);
    if (!is_new) return answer(from, std::move(done), fail(is_new.error()));
    if (!*is_new) return answer(from, std::move(done), {});
    commit(from, {std::move(vhost), AddBinding{std::move(wanted)}}, std::move(done));
  });
}

void Control::unbind(Shard& from, std::string vhost, BindingDefinition wanted,
                     ConnectionId connection, Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), wanted = std::move(wanted),
                        connection, done = std::move(done)]() mutable {
    const auto exists = shard0().find_vhost(vhost)->check_unbind(wanted, connection);
    if (!exists) return answer(from, std::move(done), fail(exists.error()));
    if (!*exists) return answer(from, std::move(done), {});
    commit(from, {std::move(vhost), RemoveBinding{std::move(wanted)}}, std::move(done));
  });
}

void Control::add_vhost(Shard& from, std::string vhost, Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), done = std::move(done)]() mutable {
    if (shard0().find_vhost(vhost) != nullptr) return answer(from, std::move(done), {});
    commit(from, {std::move(vhost), AddVhost{}}, std::move(done));
  });
}

void Control::set_tracing(Shard& from, std::string vhost, bool on, Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), on,
                        done = std::move(done)]() mutable {
    if (shard0().find_vhost(vhost) == nullptr) {
      return answer(
          from, std::move(done),
          fail(ProtocolError{ReplyCode::not_found, "virtual host '" + vhost + "' does not exist"}));
    }
    commit(from, {std::move(vhost), SetTracing{on}}, std::move(done));
  });
}

void Control::reserve_lanes(Shard& from, std::uint32_t count,
                            UniqueFunction<void(std::vector<LaneId>)> done) {
  run_on_control(from, [this, &from, count, done = std::move(done)]() mutable {
    std::vector<LaneId> lanes;
    for (std::uint32_t i = 0; i < count; ++i)
      lanes.push_back(take_lane());
    if (from.index() == 0) return done(std::move(lanes));
    shard0().send(from.index(), [done = std::move(done), lanes = std::move(lanes)]() mutable {
      done(std::move(lanes));
    });
  });
}

void Control::answer(Shard& from, Done done, Result<void, ProtocolError> result) {
  auto reply = [&from, this, done = std::move(done), result = std::move(result)]() mutable {
    if (from.index() == 0) return done(std::move(result));
    shard0().send(from.index(), [done = std::move(done), result = std::move(result)]() mutable {
      done(std::move(result));
    });
  };
  // What the check saw may be a change that is not everywhere yet.
  if (changes_.empty()) {
    reply();
  } else {
    changes_.back()->when_done.emplace_back(std::move(reply));
  }
}

std::uint64_t Control::begin_change(std::size_t shares) {
  changes_.push_back(std::make_unique<Change>());
  changes_.back()->shares_left = shares;
  return first_change_ + changes_.size() - 1;
}

void Control::commit(Shard& from, TopologyChange change, Done done) {
  // One share each for this function, for the disk, and for every other shard.
  const std::uint64_t number = begin_change(2 + (broker_.shard_count() - 1u));
  const std::size_t recorded = shard0().batch().records().size();
  record(change);
  const bool durable = shard0().batch().records().size() > recorded;
  const auto shared = std::make_shared<const TopologyChange>(std::move(change));
  for (ShardIndex index = 1; index < broker_.shard_count(); ++index) {
    shard0().send(index, [this, index, number, shared] {
      broker_.shard(index).apply(*shared);
      broker_.shard(index).send(0, [this, number] { share_done(number); });
    });
  }
  if (!durable) {
    share_done(number);
  } else {
    shard0().when_durable(shard0().turn_ticket(), [this, number] { share_done(number); });
  }
  answer(from, std::move(done), {});
  share_done(number);
  // In the same turn, and so in the same commit.
  for (std::string& queue : std::exchange(left_queues_, {})) {
    commit(shard0(), {shared->vhost, RemoveQueue{std::move(queue)}},
           [](const Result<void, ProtocolError>&) {});
  }
}

void Control::leave_delay_queue(const ExchangeDefinition& gone) {
  if (gone.type == kDelayedExchangeType) left_queues_.push_back(delay_queue_name(gone.name));
}

void Control::record(const TopologyChange& change) {
  StoreBatch& batch = shard0().batch();
  const std::string& vhost = change.vhost;
  const VirtualHost* host = shard0().find_vhost(vhost);
  bool durable_removal = true;
  if (std::holds_alternative<AddVhost>(change.step)) {
    batch.put_record(vhost_record_key(vhost), vhost_record({vhost}));
  } else if (const auto* exchange = std::get_if<AddExchange>(&change.step)) {
    const ExchangeDefinition& definition = exchange->definition;
    if (definition.durable) {
      batch.put_record(exchange_record_key(vhost, definition.name), exchange_record(definition));
    }
  } else if (const auto* queue = std::get_if<AddQueue>(&change.step)) {
    const QueueDefinition& definition = queue->definition;
    if (definition.durable) {
      batch.put_record(queue_record_key(vhost, definition.name), queue_record(definition));
    }
  } else if (const auto* bind = std::get_if<AddBinding>(&change.step)) {
    if (host->is_durable(bind->definition)) {
      batch.put_record(binding_record_key(vhost, bind->definition),
                       binding_record(bind->definition));
    }
  } else if (const auto* unbind = std::get_if<RemoveBinding>(&change.step)) {
    if (host->is_durable(unbind->definition)) {
      batch.delete_record(binding_record_key(vhost, unbind->definition));
    }
  } else if (const auto* gone = std::get_if<RemoveExchange>(&change.step)) {
    const ExchangeDefinition& definition = host->find_exchange(gone->name)->definition();
    durable_removal = definition.durable;
    leave_delay_queue(definition);
    if (durable_removal) batch.delete_record(exchange_record_key(vhost, gone->name));
  } else if (const auto* removed = std::get_if<RemoveQueue>(&change.step)) {
    durable_removal = host->find_queue(removed->name)->definition().durable;
    if (durable_removal) batch.delete_record(queue_record_key(vhost, removed->name));
  } else if (const auto* type = std::get_if<SetDefaultQueueType>(&change.step)) {
    batch.put_record(vhost_record_key(vhost), vhost_record({vhost, type->type}));
  } else if (const auto* policy = std::get_if<SetPolicy>(&change.step)) {
    batch.put_record(policy_record_key(policy->kind, vhost, policy->definition.name),
                     policy_record(policy->definition));
  } else if (const auto* cleared = std::get_if<ClearPolicy>(&change.step)) {
    batch.delete_record(policy_record_key(cleared->kind, vhost, cleared->name));
  }
  const Removed removed = shard0().apply(change);
  record_removed(vhost, removed, durable_removal);
  announce_change(shard0(), change, removed);
}

void Control::record_removed(const std::string& vhost, const Removed& removed, bool durable) {
  StoreBatch& batch = shard0().batch();
  for (const ExchangeDefinition& exchange : removed.exchanges) {
    leave_delay_queue(exchange);
    if (!exchange.durable) continue;
    durable = true;
    batch.delete_record(exchange_record_key(vhost, exchange.name));
  }
  // With only transient things gone no binding was recorded, and a write is spared.
  if (!durable) return;
  for (const BindingDefinition& binding : removed.bindings) {
    batch.delete_record(binding_record_key(vhost, binding));
  }
}

void Control::share_done(std::uint64_t number) {
  HARRIER_CHECK(number >= first_change_);
  --changes_[static_cast<std::size_t>(number - first_change_)]->shares_left;
  // In order, so that an answer that waits for one change has waited for all before it.
  while (!changes_.empty() && changes_.front()->shares_left == 0) {
    const std::unique_ptr<Change> done = std::move(changes_.front());
    changes_.pop_front();
    ++first_change_;
    for (Task& task : done->when_done)
      task();
  }
}

LaneId Control::take_lane() {
  if (next_lane_ == reserved_lane_) {
    reserved_lane_ += kLanesReserved;
    shard0().batch().put_record(next_lane_record_key(), next_lane_record(LaneId{reserved_lane_}));
  }
  return LaneId{next_lane_++};
}

}  // namespace harrier
