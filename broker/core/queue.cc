#include "broker/core/queue.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "broker/core/errors.h"
#include "broker/core/resource_names.h"

namespace harrier {
namespace {

constexpr Logger kLog("queue");

// Of memory for the messages of one page.
constexpr std::uint64_t kPageBytesMin = std::uint64_t{16} << 10;
constexpr std::uint64_t kPageBytesMax = std::uint64_t{2} << 20;

// Octets of memory a message takes besides itself, in a queue that holds it, about.
constexpr std::uint64_t kEntryBytes = 64;

std::uint64_t memory_of(const Message& message) {
  return message.footprint() + kEntryBytes;
}

}  // namespace

Queue::Queue(QueueHandle& handle, QueueHost& host)
    : handle_(handle), host_(host), batch_(host.batch()), memory_(host.memory()) {
  if (is_durable()) lane_ = definition().lane;
}

Queue::~Queue() {
  memory_.remove(held_bytes_);
}

void Queue::recover(const RecoveredLane& lane) {
  HARRIER_DCHECK(entries_.end() == 1);
  backlog_.recover(lane);
  entries_.skip_to(lane.first_seq);
  fresh_ = lane.first_seq;
  if (backlog_.count() == 0) finish_backlog();
}

Enqueued Queue::enqueue(MessageRef message, Timestamp now) {
  if (closed_) return Enqueued::held;  // as good as routed to no queue: the confirm is an ack
  const bool durable = is_durable() && message->persistent();
  const bool in_memory = has_room();
  if (in_memory) {
    if (durable) batch_.put(*lane_, entries_.end(), message, now, kNoTime);
    push_ready(std::move(message), durable, false);
  } else {
    page_out(std::move(message), now);
  }
  pump();
  if (durable) return Enqueued::stored;
  return in_memory ? Enqueued::held : Enqueued::paged;
}

std::optional<Enqueued> Queue::enqueue_immediate(MessageRef message, Timestamp now) {
  if (closed_ || ready_count() > 0 || !has_free_consumer()) return std::nullopt;
  return enqueue(std::move(message), now);
}

// Whether the next message stays in memory.
bool Queue::has_room() {
  if (!backlog_.empty()) return false;
  if (memory_.may_hold(held_bytes_)) return true;
  // Handed on at once: there is nothing to page out.
  if (ready_in_memory_ == 0 && has_free_consumer()) return true;
  if (!lane_) lane_ = host_.take_lane();
  return !lane_;
}

void Queue::push_ready(MessageRef message, bool stored, bool redelivered) {
  hold(*message);
  ++ready_in_memory_;
  ready_bytes_in_memory_ += message->body().size();
  Entry entry;
  entry.body_bytes = message->body().size();
  entry.persistent = message->persistent();
  entry.redelivered = redelivered;
  entry.stored = stored;
  entry.message = std::move(message);
  entries_.push(std::move(entry));
}

void Queue::page_out(MessageRef message, Timestamp now) {
  const Sequence seq = backlog_.push(*message, entries_.end());
  batch_.put(*lane_, seq, std::move(message), now, kNoTime);
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
  if (damage_) return reply(fail(*damage_));
  if (getters_.empty() && head_is_loaded()) {
    Delivery delivery = hand_out(take_ready(), nullptr, no_ack);
    return reply(std::optional<Got>(Got{std::move(delivery), ready_count()}));
  }
  getters_.push_back({no_ack, std::move(reply)});
  read_ahead();
}

void Queue::settle(Sequence seq, Settlement how) {
  Entry* entry = entries_.find(seq);
  if (entry == nullptr || !entry->unacked) return;
  if (entry->consumer != nullptr) consumers_.settled(*std::exchange(entry->consumer, nullptr));
  if (how != Settlement::requeue) {
    finish(seq, *entry);
    return;
  }
  entry->unacked = false;
  entry->redelivered = true;
  ++ready_in_memory_;
  ready_bytes_in_memory_ += entry->body_bytes;
  returned_.push_back(seq);
  std::push_heap(returned_.begin(), returned_.end(), std::greater<>());
}

void Queue::pump() {
  while (!closed_ && head_is_loaded()) {
    QueueConsumer* consumer = consumers_.next();
    if (consumer == nullptr) break;
    deliver(*consumer);
  }
  if (!backlog_.empty() || !returned_.empty()) read_ahead();
}

void Queue::read_ahead() {
  if (reading_ != Reading::nothing || closed_ || damage_ || !is_wanted()) return;
  if (!returned_.empty() && !head_is_loaded()) {
    request(Reading::returned, returned_.front(), entries_.end());
  } else if (!backlog_.empty() &&
             ready_bytes_in_memory_ + ready_in_memory_ * kEntryBytes < page_bytes()) {
    request(Reading::backlog, backlog_.begin(), backlog_.end());
  }
}

void Queue::request(Reading what, Sequence from, Sequence end) {
  reading_ = what;
  reading_from_ = from;
  host_.read(*this, {.lane = *lane_, .from = from, .end = end, .bytes_max = page_bytes()});
}

std::size_t Queue::page_bytes() const {
  return static_cast<std::size_t>(std::clamp(memory_.free() / 4, kPageBytesMin, kPageBytesMax));
}

void Queue::paged_in(LanePage&& page) {
  const Reading what = std::exchange(reading_, Reading::nothing);
  if (closed_) return;
  if (page.damage && page.entries.empty() && what != Reading::void_page) {
    return found_damage(page.damage->detail);
  }
  if (what == Reading::backlog) {
    take_page(std::move(page));
  } else if (what == Reading::returned) {
    restore_returned(std::move(page));
  }
  serve_getters();
  pump();
}

void Queue::take_page(LanePage&& page) {
  Sequence looked_at = backlog_.begin();
  for (StoredEntry& entry : page.entries) {
    // Nothing is left of these; were they left open, the lane's floor would stop there.
    if (looked_at < entry.seq) batch_.settle_range(*lane_, looked_at, entry.seq, {});
    looked_at = entry.seq + 1;
    entries_.skip_to(entry.seq);
    backlog_.pop(*entry.message);
    push_ready(std::move(entry.message), true, entry.redelivered);
  }
  if (looked_at < page.next) batch_.settle_range(*lane_, looked_at, page.next, {});
  entries_.skip_to(page.next);
  backlog_.advance_to(page.next);
  if (backlog_.empty()) finish_backlog();
}

// All of it is in memory now, or nothing is left of it.
void Queue::finish_backlog() {
  if (backlog_.count() > 0) {
    kLog.error("{} misses {} messages that its counters had; harrierd --check-data tells more",
               queue_text(definition().name, definition().vhost), backlog_.count());
  }
  if (backlog_.begin() < backlog_.end()) {
    batch_.settle_range(*lane_, backlog_.begin(), backlog_.end(), backlog_.tally());
  }
  if (entries_.end() < backlog_.end()) entries_.skip_to(backlog_.end());
  if (ready_in_memory_ == 0) fresh_ = entries_.end();
  backlog_.clear();
}

void Queue::restore_returned(LanePage&& page) {
  for (StoredEntry& stored : page.entries) {
    Entry* entry = entries_.find(stored.seq);
    if (entry == nullptr || entry->unacked || entry->message) continue;
    hold(*stored.message);
    entry->message = std::move(stored.message);
  }
  const Entry* asked_for = entries_.find(reading_from_);
  if (asked_for != nullptr && !asked_for->unacked && !asked_for->message) {
    found_damage("the store does not have it");
  }
}

// The head stays where it is: skipping it would lose messages without a word.
void Queue::found_damage(const std::string& detail) {
  const std::string name = queue_text(definition().name, definition().vhost);
  kLog.error("{} stops: sequence {} or one soon after it cannot be read: {}", name, reading_from_,
             detail);
  damage_ = ProtocolError{ReplyCode::internal_error,
                          "the head of " + name + " is damaged in the store, see the log"};
  fail_getters(*damage_);
}

void Queue::serve_getters() {
  while (!getters_.empty() && (head_is_loaded() || ready_count() == 0)) {
    std::optional<Got> got;
    if (ready_count() > 0) {
      Delivery delivery = hand_out(take_ready(), nullptr, getters_.front().no_ack);
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
  const std::size_t purged = ready_count();
  while (ready_in_memory_ > 0) {
    const Sequence seq = take_ready();
    finish(seq, *entries_.find(seq));
  }
  if (!backlog_.empty()) {
    batch_.settle_range(*lane_, backlog_.begin(), backlog_.end(), backlog_.tally());
    entries_.skip_to(backlog_.end());
    fresh_ = entries_.end();
    backlog_.clear();
  }
  if (reading_ != Reading::nothing) reading_ = Reading::void_page;
  damage_.reset();
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
  if (is_durable()) batch_.delivered_below(*lane_, fresh_);
}

bool Queue::head_is_loaded() {
  if (!returned_.empty()) return static_cast<bool>(entries_.find(returned_.front())->message);
  return ready_in_memory_ > 0;
}

Sequence Queue::take_ready() {
  HARRIER_DCHECK(ready_in_memory_ > 0);
  Sequence seq;
  if (!returned_.empty()) {
    std::pop_heap(returned_.begin(), returned_.end(), std::greater<>());
    seq = returned_.back();
    returned_.pop_back();
  } else {
    seq = entries_.next_unfinished(fresh_);
    fresh_ = seq + 1;
  }
  --ready_in_memory_;
  ready_bytes_in_memory_ -= entries_.find(seq)->body_bytes;
  return seq;
}

void Queue::deliver(QueueConsumer& to) {
  const bool no_ack = to.options.no_ack;
  if (!no_ack) ++to.unacked;
  consumers_.took(to);
  to.port->deliver(hand_out(take_ready(), &to, no_ack));
}

Delivery Queue::hand_out(Sequence seq, QueueConsumer* to, bool no_ack) {
  Entry& entry = *entries_.find(seq);
  if (no_ack) {
    let_go(*entry.message);
    Delivery delivery{seq, std::move(entry.message), entry.redelivered};
    finish(seq, entry);
    return delivery;
  }
  entry.unacked = true;
  entry.consumer = to;
  // Its consumer has it and the store has it: over budget that is enough.
  if (entry.stored && !memory_.may_hold(held_bytes_)) {
    let_go(*entry.message);
    return Delivery{seq, std::move(entry.message), entry.redelivered};
  }
  return Delivery{seq, entry.message, entry.redelivered};
}

void Queue::finish(Sequence seq, const Entry& entry) {
  if (entry.stored) {
    batch_.settle(*lane_, seq, entry.persistent ? Tally{1, entry.body_bytes} : Tally{});
  }
  if (entry.message) let_go(*entry.message);
  entries_.finish(seq);
}

void Queue::hold(const Message& message) {
  held_bytes_ += memory_of(message);
  memory_.add(memory_of(message));
}

void Queue::let_go(const Message& message) {
  held_bytes_ -= memory_of(message);
  memory_.remove(memory_of(message));
}

void Queue::check_invariants() const {
  std::size_t ready = 0;
  std::uint64_t bytes = 0;
  std::uint64_t held = 0;
  auto& entries = const_cast<SequenceWindow<Entry>&>(entries_);  // find() is not const
  for (Sequence seq = entries.next_unfinished(entries.begin()); seq < entries.end();
       seq = entries.next_unfinished(seq + 1)) {
    const Entry& entry = *entries.find(seq);
    HARRIER_CHECK(entry.message || entry.stored);
    HARRIER_CHECK(entry.message || seq < fresh_);
    HARRIER_CHECK(!(seq >= fresh_ && entry.unacked));
    if (entry.message) held += memory_of(*entry.message);
    if (entry.unacked) continue;
    ++ready;
    bytes += entry.body_bytes;
  }
  HARRIER_CHECK(ready == ready_in_memory_);
  HARRIER_CHECK(bytes == ready_bytes_in_memory_);
  HARRIER_CHECK(held == held_bytes_);
  HARRIER_CHECK(backlog_.empty() || backlog_.begin() == entries_.end());
  HARRIER_CHECK(!backlog_.empty() || backlog_.count() == 0);
}

}  // namespace harrier
