#include "broker/core/queue.h"

#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "broker/core/errors.h"
#include "broker/core/resource_names.h"

namespace harrier {
namespace {

constexpr Logger kLog("queue");

ProtocolError shutting_down() {
  return {ReplyCode::connection_forced, "broker forced connection closure with reason 'shutdown'"};
}

}  // namespace

Queue::Queue(QueueHandle& handle, QueueHost& host)
    : handle_(handle),
      host_(host),
      share_(*this, host),
      base_(share_, is_durable() ? std::optional(definition().lane) : std::nullopt) {}

Queue::~Queue() {
  share_.memory.remove(share_.held_bytes);
}

void Queue::recover(const RecoveredLane& lane) {
  base_.recover(lane);
  report_missing(base_);
}

Enqueued Queue::enqueue(MessageRef message, Timestamp now) {
  if (closed_) return Enqueued::held;  // as good as routed to no queue: the confirm is an ack
  const bool durable = is_durable() && message->persistent();
  Level& level = base_;
  const Level::Place place = level.place_for(*message, [this] { return has_free_consumer(); });
  if (place == Level::Place::store) {
    level.page_out(std::move(message), now);
  } else {
    level.push(std::move(message), durable || place == Level::Place::both, now);
  }
  pump();
  if (durable) return Enqueued::stored;
  return place == Level::Place::memory ? Enqueued::held : Enqueued::paged;
}

Result<QueueConsumer*, ProtocolError> Queue::consume(Consumer& port, ConsumerOptions options) {
  if (closed_) return fail(no_queue(definition().name, definition().vhost));
  // basic.consume/exclusive, rule "in-use": as RabbitMQ, both for a newcomer that wants to be alone
  // and for one that meets somebody who is.
  if (consumers_.has_exclusive() || (options.exclusive && consumers_.count() > 0)) {
    return fail(
        ProtocolError{ReplyCode::access_refused,
                      queue_text(definition().name, definition().vhost) + " in exclusive use"});
  }
  return &consumers_.add(port, std::move(options));
}

bool Queue::cancel(QueueConsumer& consumer) {
  consumers_.cancel(consumer);
  return definition().auto_delete && consumers_.count() == 0 && !closed_;
}

void Queue::resume(QueueConsumer& consumer) {
  consumers_.resume(consumer);
  pump();
}

void Queue::get(bool no_ack, GetReply reply) {
  if (closed_ || ready_count() == 0) return reply(std::optional<Got>());
  if (stopping_) return reply(fail(shutting_down()));
  Level& level = next_level();
  if (level.is_damaged()) return reply(fail(damage()));
  if (getters_.empty() && level.head_is_loaded()) {
    Delivery delivery = level.hand_out(level.take_ready(), nullptr, no_ack);
    return reply(std::optional<Got>(Got{std::move(delivery), ready_count()}));
  }
  getters_.push_back({no_ack, std::move(reply)});
  read_ahead();
}

void Queue::settle(Sequence seq, Settlement how) {
  Level& level = base_;
  QueueEntry* entry = level.find_unacked(seq);
  if (entry == nullptr) return;
  if (entry->consumer != nullptr) consumers_.settled(*std::exchange(entry->consumer, nullptr));
  if (how == Settlement::requeue) {
    level.give_back(seq, *entry);
  } else {
    level.finish(seq, *entry);
  }
}

void Queue::pump() {
  while (!closed_ && !stopping_) {
    Level& level = next_level();
    if (!level.head_is_loaded()) break;
    QueueConsumer* consumer = consumers_.next();
    if (consumer == nullptr) break;
    deliver(level, *consumer);
  }
  read_ahead();
}

void Queue::paged_in(LanePage&& page) {
  if (closed_) return;
  Level& level = base_;
  const auto damage = level.paged_in(std::move(page));
  report_missing(level);
  if (damage) return found_damage(level, *damage);
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
  while (!getters_.empty() && (next_level().head_is_loaded() || ready_count() == 0)) {
    std::optional<Got> got;
    if (ready_count() > 0) {
      Level& level = next_level();
      Delivery delivery = level.hand_out(level.take_ready(), nullptr, getters_.front().no_ack);
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
  const std::size_t purged = base_.purge();
  serve_getters();
  return purged;
}

std::size_t Queue::close() {
  closed_ = true;
  for (Getter& getter : getters_) {
    host_.later([reply = std::move(getter.reply)]() mutable { reply(std::optional<Got>()); });
  }
  getters_.clear();
  // Told last: its port may be gone once it has heard.
  for (QueueConsumer* consumer : consumers_.all()) {
    Consumer* port = consumer->port;
    consumers_.cancel(*consumer);
    port->cancelled();
  }
  return ready_count();
}

void Queue::record_delivered() {
  if (is_durable()) base_.record_delivered();
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
  to.port->deliver(level.hand_out(level.take_ready(), &to, no_ack));
}

void Queue::check_invariants() const {
  HARRIER_CHECK(base_.check_invariants() == share_.held_bytes);
}

}  // namespace harrier
