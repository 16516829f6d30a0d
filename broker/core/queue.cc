#include "broker/core/queue.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "broker/core/delay_queue.h"
#include "broker/core/errors.h"
#include "broker/core/queue_lanes.h"
#include "broker/core/resource_names.h"

namespace harrier {
namespace {

constexpr Logger kLog("queue");

// How many messages may die in one go, so that the shard's other queues get their turn.
constexpr std::size_t kDeathsAtOnce = 4096;

ConsumerSet::Sharing sharing_of(const QueueSettings& settings) {
  using Sharing = ConsumerSet::Sharing;
  if (!settings.single_active_consumer) return Sharing::round_robin;
  return settings.active_by_priority ? Sharing::single_active_by_priority : Sharing::single_active;
}

ProtocolError shutting_down() {
  return {ReplyCode::connection_forced, "broker forced connection closure with reason 'shutdown'"};
}

}  // namespace

Queue::Queue(QueueHandle& handle, QueueHost& host)
    : handle_(handle),
      host_(host),
      share_(*this, host, is_durable()),
      base_(share_, is_durable() ? std::optional(definition().lane) : std::nullopt),
      settings_(settings_of(definition(), nullptr, nullptr)),
      consumers_(sharing_of(settings_)),
      last_used_(host.now()),
      forwards_(is_delay_queue(definition().name)) {
  upper_.resize(settings_.max_priority);
  apply_deduplication(last_used_);
  wake_by(unused_at());
}

Queue::~Queue() {
  share_.memory.remove(share_.held_bytes);
}

void Queue::apply(QueueSettings settings, Timestamp now) {
  // These are part of what was declared.
  settings.max_priority = settings_.max_priority;
  settings.single_active_consumer = settings_.single_active_consumer;
  settings_ = std::move(settings);
  apply_deduplication(now);
  last_used_ = now;
  wake_by(unused_at());
  drop_heads();
  read_ahead();
}

Level& Queue::level_at(std::uint8_t priority) {
  const std::size_t number = std::min(priority, settings_.max_priority);
  if (number == 0) return base_;
  std::unique_ptr<Level>& level = upper_[number - 1];
  if (!level) {
    std::optional<LaneId> lane;
    if (is_durable()) lane = LaneId{definition().lane.value + static_cast<std::uint32_t>(number)};
    level = std::make_unique<Level>(share_, lane, static_cast<std::uint8_t>(number));
  }
  return *level;
}

Level* Queue::find_level(LaneId lane) {
  Level* found = nullptr;
  each_level([&](Level& level) {
    if (level.lane() == lane) found = &level;
  });
  return found;
}

Level& Queue::recovered_level(LaneId lane) {
  if (lane == retry_lane(definition())) return retry_level();
  const std::uint32_t number = lane.value - definition().lane.value;
  HARRIER_CHECK(number <= settings_.max_priority);
  return level_at(static_cast<std::uint8_t>(number));
}

void Queue::recover(const RecoveredLane& lane) {
  if (keys_) check_keys(lane);
  if (lane.next_seq == 1) return;  // never used
  if (lane.lane == definition().delay_lane) {
    delayed().recover(lane);
    report_unreadable_delayed();
    return wake_by(std::min(delayed_->next_due(), host_.now() + kWakeMax));
  }
  Level& level = recovered_level(lane.lane);
  level.recover(lane);
  report_missing(level);
  expect(level.next_deadline());
  drop_heads();
  read_ahead();
}

void Queue::recover_deadlines(LaneId lane) {
  recovered_level(lane).recover_deadlines();
}

void Queue::recover_count(LaneId lane, Sequence seq, std::uint32_t count) {
  recovered_level(lane).recover_count(seq, count);
}

void Queue::drop_lanes() {
  each_level([](Level& level) { level.drop_lane(); });
  if (delayed_) delayed_->drop_lane();
  if (keys_) keys_->forget_all();
}

Enqueued Queue::enqueue(MessageRef message, Timestamp now, Admission admission) {
  if (closed_) return Enqueued::held;  // as good as routed to no queue: the confirm is an ack
  if (message->has_delay_headers() || forwards_) [[unlikely]] {
    if (const auto enqueued = enqueue_by_headers(message, now, admission)) return *enqueued;
  }
  if (next_deadline_ <= now && !is_behind_) expire(now);
  if (keys_) [[unlikely]] {
    if (const auto met = meet_duplicate(message, now, admission)) return *met;
  }
  if (has_room_kept(admission)) {
    release(1, message->body().size());
  } else if (admission == Admission::asked && settings_.overflow != Overflow::drop_head &&
             refuses(message)) {
    return Enqueued::refused;
  }
  const bool durable = is_durable() && message->persistent();
  const Timestamp expires_at = deadline_of(*message, now);
  Level& level = level_of(*message);
  const Level::Place place = level.place_for(*message, [this] { return has_free_consumer(); });
  if (keys_) [[unlikely]]
    remember_key(level.id_of(level.next_sequence()), *message, expires_at, now);
  if (place == Level::Place::store) {
    level.page_out(std::move(message), now, expires_at);
  } else {
    level.push(std::move(message), durable || place == Level::Place::both, now, expires_at);
  }
  // Before it can expire: with a TTL of 0 a consumer that waits gets it.
  deliver_ready();
  if (expires_at != kNoTime) {
    expect(expires_at);
    if (expires_at <= now && !is_behind_) expire(now);
  }
  drop_heads();
  read_ahead();
  if (durable) return Enqueued::stored;
  return place == Level::Place::memory ? Enqueued::held : Enqueued::paged;
}

Timestamp Queue::deadline_of(const Message& message, Timestamp now) const {
  if (message.ttl_ms() < 0 && !settings_.message_ttl) return kNoTime;
  if (forwards_) return kNoTime;  // counts from the queues it will go to
  std::optional<Milliseconds> ttl = settings_.message_ttl;
  if (message.ttl_ms() >= 0) {
    const Milliseconds own(message.ttl_ms());
    ttl = ttl ? std::min(*ttl, own) : own;
  }
  return ttl ? now + *ttl : kNoTime;
}

void Queue::expect(Timestamp deadline) {
  if (deadline >= next_deadline_) return;
  next_deadline_ = deadline;
  wake_by(deadline);
}

void Queue::wake_by(Timestamp at) {
  if (at >= woken_at_) return;
  woken_at_ = at;
  host_.wake_at(*this, at);
}

void Queue::tick(Timestamp now) {
  if (woken_at_ <= now) woken_at_ = kNever;
  if (closed_) return;
  if (unused_at() <= now) return host_.delete_unused(*this);
  const bool was_behind = std::exchange(is_behind_, false);
  if (next_deadline_ <= now) expire(now);
  if (delayed_) release_due(now);
  drop_heads();
  wake_by(std::min(is_behind_ ? kNever : next_deadline_, unused_at()));
  if (!was_behind || is_behind_) return;
  serve_getters();
  pump();
}

void Queue::expire(Timestamp now) {
  next_deadline_ = kNever;
  std::size_t left = kDeathsAtOnce;
  each_level([&](Level& level) {
    for (; left > 0; --left) {
      const auto seq = level.take_expired(now);
      if (!seq) break;
      die(level, *seq, DeathReason::expired);
    }
    if (left == 0) return;
    if (level.next_deadline() <= now) level.read_backlog();
    expect(level.next_deadline());
  });
  if (left > 0) return;
  is_behind_ = true;
  next_deadline_ = now;
  pause_dying(now);
}

void Queue::pause_dying(Timestamp now) {
  wake_by(now + Milliseconds(1));
}

bool Queue::has_room_for(std::size_t count, std::uint64_t bytes) const {
  if (settings_.max_length && kept_count() + reserved_count_ + count > *settings_.max_length) {
    return false;
  }
  return !settings_.max_length_bytes ||
         kept_bytes() + reserved_bytes_ + bytes <= *settings_.max_length_bytes;
}

bool Queue::refuses(const MessageRef& message) {
  if (!is_limited() || has_room_for(1, message->body().size())) return false;
  if (settings_.overflow == Overflow::reject_publish_dlx && settings_.dead_letter_exchange) {
    host_.dead_letter(*this, {0, message, DeathReason::maxlen});
  }
  return true;
}

bool Queue::reserve(std::size_t count, std::uint64_t bytes) {
  if (settings_.overflow != Overflow::drop_head && is_limited() && !has_room_for(count, bytes)) {
    return false;
  }
  reserved_count_ += count;
  reserved_bytes_ += bytes;
  return true;
}

void Queue::release(std::size_t count, std::uint64_t bytes) {
  reserved_count_ -= std::min(reserved_count_, count);
  reserved_bytes_ -= std::min(reserved_bytes_, bytes);
}

void Queue::drop_surplus() {
  for (std::size_t left = kDeathsAtOnce; ready_count() > 0; --left) {
    const bool too_many = settings_.max_length && kept_count() > *settings_.max_length;
    const bool too_large = settings_.max_length_bytes && kept_bytes() > *settings_.max_length_bytes;
    if (!too_many && !too_large) return;
    if (left == 0) return pause_dying(host_.now());
    Level& level = next_level();
    if (level.has_ready_in_memory()) {
      die(level, level.take_ready(), DeathReason::maxlen);
    } else if (too_many) {
      level.doom_head();
    } else {
      // How large the heads on disk are shows when they are read: one at a time.
      bool is_waiting = false;
      each_level([&](const Level& each) { is_waiting |= each.doomed_count() > 0; });
      if (!is_waiting && !level.empty()) level.doom_head();
      return;
    }
  }
}

void Queue::die(Level& level, Sequence seq, DeathReason reason) {
  if (!settings_.dead_letter_exchange) return level.finish(seq);
  // Already now: its copy may come back to this queue.
  if (keys_) keys_->left(level.id_of(seq));
  MessageRef message = level.lay_out(seq, reason);
  if (message) {
    host_.dead_letter(*this, {level.id_of(seq), std::move(message), reason});
  } else {
    level.read_ahead(false);
  }
}

Timestamp Queue::unused_at() const {
  if (!settings_.expires || consumers_.count() > 0) return kNever;
  return last_used_ + *settings_.expires;
}

Result<QueueConsumer*, ProtocolError> Queue::consume(Consumer& port, ConsumerOptions options) {
  if (closed_) return fail(no_queue(definition().name, definition().vhost));
  // basic.consume/exclusive, rule "in-use": as RabbitMQ, both for a newcomer that wants to be alone
  // and for one that meets somebody who is.
  const bool may_not_be_alone = consumers_.count() > 0 || settings_.single_active_consumer;
  if (consumers_.has_exclusive() || (options.exclusive && may_not_be_alone)) {
    return fail(
        ProtocolError{ReplyCode::access_refused,
                      queue_text(definition().name, definition().vhost) + " in exclusive use"});
  }
  return &consumers_.add(port, std::move(options));
}

bool Queue::cancel(QueueConsumer& consumer) {
  consumers_.cancel(consumer);
  touch();
  wake_by(unused_at());
  if (settings_.single_active_consumer && consumers_.count() > 0) {
    // Later, when the others of the same channel are cancelled too.
    host_.later([self = QueueRef(&handle_)] {
      if (Queue* queue = self->queue()) queue->pump();
    });
  }
  return definition().auto_delete && consumers_.count() == 0 && !closed_;
}

void Queue::resume(QueueConsumer& consumer) {
  consumers_.resume(consumer);
  pump();
}

void Queue::get(bool no_ack, GetReply reply) {
  touch();
  if (next_deadline_ <= host_.now() && !is_behind_) expire(host_.now());
  if (closed_ || ready_count() == 0) return reply(std::optional<Got>());
  if (stopping_) return reply(fail(shutting_down()));
  Level& level = next_level();
  if (level.is_damaged()) return reply(fail(damage()));
  if (getters_.empty() && level.head_is_loaded() && !is_behind_) {
    Delivery delivery = hand_out(level, nullptr, no_ack);
    return reply(std::optional<Got>(Got{std::move(delivery), ready_count()}));
  }
  getters_.push_back({no_ack, std::move(reply)});
  read_ahead();
}

void Queue::settle(Sequence id, Settlement how) {
  Level* const found = find_level(Level::number_in(id));
  if (found == nullptr) return;
  Level& level = *found;
  const Sequence seq = Level::sequence_in(id);
  QueueEntry* entry = level.find_unacked(seq);
  if (entry == nullptr) return;
  if (entry->consumer != nullptr) consumers_.settled(*std::exchange(entry->consumer, nullptr));
  if (returns(how)) {
    take_back(level, seq, *entry, how);
  } else if (how == Settlement::discard) {
    die(level, seq, DeathReason::rejected);
  } else {
    level.finish(seq, *entry);
  }
}

Delivery Queue::hand_out(Level& level, QueueConsumer* to, bool no_ack) {
  Delivery delivery = level.hand_out(to, no_ack);
  if (settings_.delivery_count_mode == DeliveryCountMode::acquired && !no_ack &&
      settings_.counts_deliveries()) {
    level.set_delivery_count(delivery.seq, *level.find_unacked(delivery.seq),
                             delivery.delivery_count + 1);
  }
  delivery.seq = level.id_of(delivery.seq);
  // From now on the deadline of what is on disk counts.
  if (!level.has_ready_in_memory() && !level.empty()) expect(level.next_deadline());
  return delivery;
}

void Queue::buried(Sequence id) {
  Level* level = find_level(Level::number_in(id));
  if (level != nullptr) level->finish(Level::sequence_in(id));
}

void Queue::pump() {
  if (next_deadline_ != kNever && !is_behind_ && next_deadline_ <= host_.now()) {
    expire(host_.now());
  }
  drop_heads();
  deliver_ready();
  read_ahead();
}

void Queue::deliver_ready() {
  while (!closed_ && !stopping_ && !is_behind_) {
    Level& level = next_level();
    if (!level.head_is_loaded()) break;
    QueueConsumer* consumer = consumers_.next();
    if (consumer == nullptr && forwards_) {
      die(level, level.take_ready(), DeathReason::due);
      continue;
    }
    if (consumer == nullptr) break;
    deliver(level, *consumer);
  }
}

void Queue::paged_in(LaneId lane, LanePage&& page) {
  if (closed_) return;
  if (delayed_ && delayed_->lane() == lane) return delayed_paged_in(std::move(page));
  Level* const asked = find_level(lane);
  if (asked == nullptr) return;
  Level& level = *asked;
  const auto damage = level.paged_in(std::move(page));
  report_missing(level);
  for (DeadLetter& letter : level.take_risen()) {
    if (delayed_ && take_return(level, letter)) continue;
    if (!settings_.dead_letter_exchange) {  // a policy took it away meanwhile
      level.finish(letter.seq);
      continue;
    }
    letter.seq = level.id_of(letter.seq);
    host_.dead_letter(*this, std::move(letter));
  }
  for (const Sequence seq : level.take_doomed())
    die(level, seq, DeathReason::maxlen);
  if (!loads_.empty() && !is_loading()) end_loading();
  drop_heads();
  expect(level.next_deadline());
  if (damage) return found_damage(level, *damage);
  if (next_deadline_ <= host_.now() && !is_behind_) expire(host_.now());
  serve_getters();
  pump();
}

void Queue::report_missing(Level& level) {
  const std::size_t missing = level.take_missing();
  if (missing == 0) return;
  kLog.error("{} misses {} messages that its counters had; harrierd --check-data tells more",
             queue_text(definition().name, definition().vhost), missing);
}

void Queue::found_damage(const Level& level, const std::string& detail) {
  kLog.error("{} stops: sequence {} or one soon after it cannot be read: {}",
             queue_text(definition().name, definition().vhost), level.reading_from(), detail);
  fail_getters(damage());
}

ProtocolError Queue::damage() const {
  return {ReplyCode::internal_error, "the head of " +
                                         queue_text(definition().name, definition().vhost) +
                                         " is damaged in the store, see the log"};
}

void Queue::serve_getters() {
  while (!getters_.empty() && !is_behind_ &&
         (next_level().head_is_loaded() || ready_count() == 0)) {
    std::optional<Got> got;
    if (ready_count() > 0) {
      Level& level = next_level();
      Delivery delivery = hand_out(level, nullptr, getters_.front().no_ack);
      got = Got{std::move(delivery), ready_count()};
    }
    host_.later([reply = std::move(getters_.front().reply), got = std::move(got)]() mutable {
      reply(std::move(got));
    });
    getters_.pop_front();
  }
}

void Queue::fail_getters(const ProtocolError& error) {
  for (Getter& getter : getters_) {
    host_.later([reply = std::move(getter.reply), error]() mutable { reply(fail(error)); });
  }
  getters_.clear();
}

std::size_t Queue::purge() {
  std::size_t purged = 0;
  each_level([&](Level& level) { purged += level.purge(); });
  if (delayed_) purged += delayed_->purge();
  serve_getters();
  return purged;
}

std::size_t Queue::close() {
  closed_ = true;
  for (Getter& getter : getters_) {
    host_.later([reply = std::move(getter.reply)]() mutable { reply(std::optional<Got>()); });
  }
  getters_.clear();
  end_loading();
  // Told last: its port may be gone once it has heard.
  for (QueueConsumer* consumer : consumers_.all()) {
    Consumer* port = consumer->port;
    consumers_.cancel(*consumer);
    port->cancelled();
  }
  return ready_count();
}

void Queue::record_delivered() {
  if (!is_durable()) return;
  each_level([](Level& level) { level.record_delivered(); });
}

void Queue::stop_deliveries() {
  stopping_ = true;
  fail_getters(shutting_down());
  record_delivered();
}

void Queue::deliver(Level& level, QueueConsumer& to) {
  const bool no_ack = to.options.no_ack;
  if (!no_ack) ++to.unacked;
  consumers_.took(to);
  to.port->deliver(hand_out(level, &to, no_ack));
}

void Queue::check_invariants() const {
  std::uint64_t held = base_.check_invariants();
  for (const auto& level : upper_)
    held += level ? level->check_invariants() : 0;
  HARRIER_CHECK(held == share_.held_bytes);
}

}  // namespace harrier
