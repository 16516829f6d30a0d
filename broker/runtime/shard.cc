#include "broker/runtime/shard.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/assert.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/internal_publish.h"
#include "broker/runtime/recent_messages.h"
#include "broker/runtime/redrive.h"
#include "broker/runtime/subscriptions.h"

namespace harrier {

Shard::Shard(Broker& broker, ShardIndex index, const Clock& clock, Store& store,
             std::uint64_t memory_bytes)
    : broker_(broker),
      index_(index),
      clock_(clock),
      store_(store),
      now_(clock.now()),
      memory_(memory_bytes) {
  outboxes_.resize(broker.shard_count());
  sent_octets_.resize(broker.shard_count());
  subscriptions_ = std::make_unique<Subscriptions>(*this);
  own_messages_ = std::make_unique<OwnMessages>(*this);
  redrives_ = std::make_unique<Redrives>(*this);
  StoreListener listener;
  listener.on_durable = [this](Ticket durable) {
    // Pairs with the load in release_durable(), which may run before the posted task does.
    durable_reported_.store(durable, std::memory_order_release);
    post([this] { release_durable(); });
  };
  listener.on_failure = [this](const StoreError& error) { broker_.store_failed(error); };
  listener.on_space = [this](bool is_full) { broker_.set_store_full(is_full); };
  listener.on_group_hold = [this](bool hold) { post([this, hold] { hold_groups(hold); }); };
  submitter_ = store.add_submitter(std::move(listener));
}

Shard::~Shard() = default;

void Shard::run_mailbox() {
  HARRIER_DCHECK(incoming_.empty());
  mailbox_.take(incoming_);
  for (Task& task : incoming_)
    task();
  incoming_.clear();
}

std::optional<Timestamp> Shard::next_deadline() const {
  const auto queues = timers_.next();
  const auto jobs = redrives_->next_deadline();
  if (!queues || !jobs) return queues ? queues : jobs;
  return std::min(*queues, *jobs);
}

void Shard::run_timers() {
  redrives_->run_timers();
  while (const auto due = timers_.take_due(now_)) {
    if (Queue* queue = find_queue(*due)) queue->tick(now_);
  }
}

void Shard::delete_unused(Queue& queue) {
  const QueueDefinition& definition = queue.definition();
  queue.close();
  broker_.control().delete_queue(*this, definition.vhost, definition.name, definition.id,
                                 [](const Result<void, ProtocolError>&) {});
}

void Shard::end_turn() {
  // Ending one subject may list another or send something: confirms go to an output, a flushed
  // output frees a consumer. Bounded, since each pass needs new work.
  for (;;) {
    while (burial_.is_due())
      burial_.run();
    submit_batch();
    release_durable();
    if (turn_ends_.empty() && !has_batch() && !burial_.is_due()) break;
    ending_.swap(turn_ends_);
    for (std::size_t i = 0; i < ending_.size(); ++i) {
      if (ending_[i] == nullptr) continue;
      ending_[i]->listed_ = false;
      ending_[i]->end_of_turn();
    }
    ending_.clear();
  }
  subscriptions_->flush();
  flush_outboxes();
  submit_reads();
}

void Shard::at_turn_end(TurnEnd& subject) {
  if (std::exchange(subject.listed_, true)) return;
  turn_ends_.push_back(&subject);
}

void Shard::forget(TurnEnd& subject) {
  if (!std::exchange(subject.listed_, false)) return;
  std::erase(turn_ends_, &subject);
  // end_turn() may be walking over these.
  std::replace(ending_.begin(), ending_.end(), &subject, static_cast<TurnEnd*>(nullptr));
}

void Shard::post(Task task) {
  if (mailbox_.append(std::move(task)) && wake_) wake_();
}

void Shard::send(ShardIndex to, Task task) {
  subscriptions_->flush_to(to);
  outboxes_[to].push_back(std::move(task));
}

void Shard::make_atomic(std::uint64_t shard_bits) {
  const auto parts = static_cast<std::uint32_t>(std::popcount(shard_bits));
  if (parts < 2) return;
  const GroupId group{next_number()};
  for (ShardIndex to = 0; to < broker_.shard_count(); ++to) {
    if ((shard_bits >> to & 1) == 0) continue;
    if (to == index_) {
      batch_.join_group(group, parts);
    } else {
      // A mailbox is appended to and emptied as a whole: this runs in the same turn over there as
      // the rest.
      send(to,
           [&there = broker_.shard(to), group, parts] { there.batch_.join_group(group, parts); });
    }
  }
}

void Shard::hold_groups(bool hold) {
  groups_held_ = hold;
  if (hold) return;
  for (Task& task : std::exchange(held_back_, {}))
    task();
}

void Shard::when_durable(Ticket ticket, Task task) {
  if (ticket <= durable_) {
    task();
    return;
  }
  batch_.want_sync();
  HARRIER_DCHECK(durable_waiters_.empty() || durable_waiters_.back().ticket <= ticket);
  durable_waiters_.push_back({ticket, std::move(task)});
}

VirtualHost* Shard::find_vhost(std::string_view name) const {
  const auto found = vhosts_.find(std::string(name));
  return found == vhosts_.end() ? nullptr : found->second.get();
}

Queue* Shard::find_queue(QueueId id) const {
  const auto found = queues_.find(id);
  return found == queues_.end() ? nullptr : found->second.get();
}

Removed Shard::apply(const TopologyChange& change) {
  if (std::holds_alternative<AddVhost>(change.step)) {
    vhosts_.emplace(change.vhost, std::make_unique<VirtualHost>(change.vhost));
    return {};
  }
  const auto found = vhosts_.find(change.vhost);
  HARRIER_CHECK(found != vhosts_.end());
  if (std::holds_alternative<RemoveVhost>(change.step)) {
    vhosts_.erase(found);
    return {};
  }
  return apply_to(*found->second, change);
}

Removed Shard::apply_to(VirtualHost& vhost, const TopologyChange& change) {
  if (const auto* exchange = std::get_if<AddExchange>(&change.step)) {
    vhost.add_exchange(exchange->definition);
  } else if (const auto* gone = std::get_if<RemoveExchange>(&change.step)) {
    return vhost.remove_exchange(gone->name);
  } else if (const auto* bind = std::get_if<AddBinding>(&change.step)) {
    vhost.add_binding(bind->definition);
    if (index_ == 0) send_recent(*this, vhost, bind->definition);
  } else if (const auto* unbind = std::get_if<RemoveBinding>(&change.step)) {
    return vhost.remove_binding(unbind->definition);
  } else if (const auto* queue = std::get_if<AddQueue>(&change.step)) {
    add_queue(vhost, queue->definition);
  } else if (const auto* removed = std::get_if<RemoveQueue>(&change.step)) {
    return remove_queue(vhost, removed->name);
  } else if (const auto* tracing = std::get_if<SetTracing>(&change.step)) {
    vhost.set_traced(tracing->on);
  } else if (const auto* type = std::get_if<SetDefaultQueueType>(&change.step)) {
    vhost.set_default_queue_type(type->type);
  } else if (const auto* policy = std::get_if<SetPolicy>(&change.step)) {
    vhost.set_policy(policy->kind, policy->definition);
    apply_policies(vhost);
  } else if (const auto* cleared = std::get_if<ClearPolicy>(&change.step)) {
    vhost.clear_policy(cleared->kind, cleared->name);
    apply_policies(vhost);
  }
  return {};
}

void Shard::apply_policies(const VirtualHost& vhost) {
  vhost.each_queue([&](QueueHandle& handle) {
    QueueSettings settings = vhost.policies().settings_of(handle.definition());
    handle.set_consumer_timeout(settings.consumer_timeout);
    Queue* queue = handle.queue();
    if (queue == nullptr) return;
    if (settings != queue->settings()) queue->apply(std::move(settings), now_);
  });
}

void Shard::add_queue(VirtualHost& vhost, const QueueDefinition& definition) {
  QueueHandle& handle = vhost.add_queue(definition);
  QueueSettings settings = vhost.policies().settings_of(definition);
  handle.set_consumer_timeout(settings.consumer_timeout);
  if (handle.home() != index_) return;
  auto queue = std::make_unique<Queue>(handle, *this);
  queue->apply(std::move(settings), now_);
  handle.attach(queue.get());
  queues_.emplace(handle.id(), std::move(queue));
}

Removed Shard::remove_queue(VirtualHost& vhost, const std::string& name) {
  // The queue refers to its handle: keep that until the queue is gone too.
  const QueueRef handle(vhost.find_queue(name));
  HARRIER_CHECK(handle);
  if (Queue* queue = find_queue(handle->id())) {
    if (!queue->closed()) queue->close();
    // Shard 0 has submitted the end of the definition before it told us: no crash leaves a queue
    // whose lane is gone, which would swallow what is published to it.
    queue->drop_lanes();
  }
  Removed removed = vhost.remove_queue(name);
  queues_.erase(handle->id());
  timers_.remove(handle->id());
  return removed;
}

void Shard::submit_batch() {
  if (!has_batch()) return;
  undurable_.push_back({submitted_ + 1, batch_.bytes()});
  undurable_bytes_ += batch_.bytes();
  const Ticket ticket = store_.submit(submitter_, batch_);
  HARRIER_CHECK(ticket == submitted_ + 1);
  submitted_ = ticket;
}

void Shard::submit_reads() {
  for (Read& read : reads_) {
    store_.read(read.request, [this, done = std::move(read.done)](LanePage&& page) mutable {
      post([done = std::move(done), page = std::move(page)]() mutable { done(std::move(page)); });
    });
  }
  reads_.clear();
}

void Shard::read(Queue& queue, const PageRequest& request) {
  read_page(request, [this, id = queue.handle().id(), lane = request.lane](LanePage&& page) {
    if (Queue* found = find_queue(id)) found->paged_in(lane, std::move(page));
  });
}

void Shard::read_page(const PageRequest& request, PageReader done) {
  reads_.push_back({request, std::move(done)});
}

std::optional<LaneId> Shard::take_lane() {
  if (spare_lanes_.empty() && !std::exchange(fetching_lanes_, true)) {
    broker_.control().reserve_lanes(*this, kLanesFetched, [this](std::vector<LaneId> lanes) {
      spare_lanes_ = std::move(lanes);
      fetching_lanes_ = false;
    });
  }
  if (spare_lanes_.empty()) return std::nullopt;
  const LaneId lane = spare_lanes_.back();
  spare_lanes_.pop_back();
  return lane;
}

void Shard::release_durable() {
  durable_ = std::max(durable_, durable_reported_.load(std::memory_order_acquire));
  while (!undurable_.empty() && undurable_.front().ticket <= durable_) {
    undurable_bytes_ -= undurable_.front().bytes;
    undurable_.pop_front();
  }
  while (!durable_waiters_.empty() && durable_waiters_.front().ticket <= durable_) {
    Task task = std::move(durable_waiters_.front().task);
    durable_waiters_.pop_front();
    task();
  }
}

void Shard::flush_outboxes() {
  for (ShardIndex to = 0; to < broker_.shard_count(); ++to) {
    if (outboxes_[to].empty()) continue;
    Shard& shard = broker_.shard(to);
    if (shard.mailbox_.append(outboxes_[to]) && shard.wake_) shard.wake_();
  }
}

}  // namespace harrier
