#include "broker/core/queue.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/assert.h"
#include "broker/core/errors.h"
#include "broker/core/resource_names.h"

namespace harrier {

Queue::Queue(QueueHandle& handle, StoreBatch& batch) : handle_(handle), batch_(batch) {}

Queue::~Queue() = default;

void Queue::recover(StoredEntry&& recovered) {
  entries_.skip_to(recovered.seq);
  if (ready_count_ == 0) fresh_ = recovered.seq;
  ++ready_count_;
  ready_bytes_ += recovered.message->body().size();
  Entry entry;
  entry.message = std::move(recovered.message);
  entry.redelivered = recovered.redelivered;
  entry.stored = true;
  entries_.push(std::move(entry));
}

void Queue::continue_from(Sequence next_seq) {
  if (entries_.empty()) fresh_ = next_seq;
  entries_.skip_to(next_seq);
}

Enqueued Queue::enqueue(MessageRef message, Timestamp now) {
  if (closed_) return Enqueued::held;  // as good as routed to no queue: the confirm is an ack
  const bool stored = is_durable() && message->persistent();
  const std::uint64_t bytes = message->body().size();
  const Sequence seq = entries_.end();
  if (stored) batch_.put(definition().lane, seq, message, now, kNoTime);
  Entry entry;
  entry.message = std::move(message);
  entry.stored = stored;
  entries_.push(std::move(entry));
  ++ready_count_;
  ready_bytes_ += bytes;
  pump();
  return stored ? Enqueued::stored : Enqueued::held;
}

std::optional<Enqueued> Queue::enqueue_immediate(MessageRef message, Timestamp now) {
  if (closed_ || ready_count_ > 0 || !has_free_consumer()) return std::nullopt;
  return enqueue(std::move(message), now);
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

std::optional<Got> Queue::get(bool no_ack) {
  if (closed_ || ready_count_ == 0) return std::nullopt;
  Delivery delivery = hand_out(take_ready(), nullptr, no_ack);
  return Got{std::move(delivery), ready_count_};
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
  ++ready_count_;
  ready_bytes_ += entry->message->body().size();
  returned_.push_back(seq);
  std::push_heap(returned_.begin(), returned_.end(), std::greater<>());
}

void Queue::pump() {
  while (ready_count_ > 0 && !closed_) {
    QueueConsumer* consumer = consumers_.next();
    if (consumer == nullptr) return;
    deliver(*consumer);
  }
}

std::size_t Queue::purge() {
  const std::size_t purged = ready_count_;
  while (ready_count_ > 0) {
    const Sequence seq = take_ready();
    finish(seq, *entries_.find(seq));
  }
  return purged;
}

std::size_t Queue::close() {
  closed_ = true;
  // Told last: its port may be gone once it has heard.
  for (QueueConsumer* consumer : consumers_.all()) {
    Consumer* port = consumer->port;
    consumers_.cancel(*consumer);
    port->cancelled();
  }
  return ready_count_;
}

void Queue::record_delivered() {
  if (is_durable()) batch_.delivered_below(definition().lane, fresh_);
}

Sequence Queue::take_ready() {
  HARRIER_DCHECK(ready_count_ > 0);
  Sequence seq;
  if (!returned_.empty()) {
    std::pop_heap(returned_.begin(), returned_.end(), std::greater<>());
    seq = returned_.back();
    returned_.pop_back();
  } else {
    seq = entries_.next_unfinished(fresh_);
    fresh_ = seq + 1;
  }
  --ready_count_;
  ready_bytes_ -= entries_.find(seq)->message->body().size();
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
    Delivery delivery{seq, std::move(entry.message), entry.redelivered};
    finish(seq, entry);
    return delivery;
  }
  entry.unacked = true;
  entry.consumer = to;
  return Delivery{seq, entry.message, entry.redelivered};
}

void Queue::finish(Sequence seq, const Entry& entry) {
  if (entry.stored) batch_.settle(definition().lane, seq);
  entries_.finish(seq);
}

void Queue::check_invariants() const {
  std::size_t ready = 0;
  std::uint64_t bytes = 0;
  auto& entries = const_cast<SequenceWindow<Entry>&>(entries_);  // find() is not const
  for (Sequence seq = entries.next_unfinished(entries.begin()); seq < entries.end();
       seq = entries.next_unfinished(seq + 1)) {
    const Entry& entry = *entries.find(seq);
    HARRIER_CHECK(entry.message);
    HARRIER_CHECK(!(seq >= fresh_ && entry.unacked));
    if (entry.unacked) continue;
    ++ready;
    bytes += entry.message->body().size();
  }
  HARRIER_CHECK(ready == ready_count_);
  HARRIER_CHECK(bytes == ready_bytes_);
}

}  // namespace harrier
