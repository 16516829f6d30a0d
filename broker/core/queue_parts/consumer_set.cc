#include "broker/core/queue_parts/consumer_set.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace harrier {

QueueConsumer& ConsumerSet::add(Consumer& port, ConsumerOptions options) {
  exclusive_ = exclusive_ || options.exclusive;
  consumers_.push_back(std::make_unique<QueueConsumer>());
  QueueConsumer& consumer = *consumers_.back();
  consumer.port = &port;
  consumer.options = std::move(options);
  consumer.number = ++last_number_;
  ++count_;
  if (has_active() && active_ == nullptr) active_ = &consumer;
  if (sharing_ == Sharing::single_active_by_priority) first_ = first_in_line();
  resume(consumer);
  return consumer;
}

void ConsumerSet::cancel(QueueConsumer& consumer) {
  HARRIER_CHECK(consumer.port != nullptr);
  if (consumer.waiting_turn) {
    const auto level = rounds_.find(consumer.options.priority);
    std::erase(level->second, &consumer);
    if (level->second.empty()) rounds_.erase(level);
    consumer.waiting_turn = false;
    front_ = nullptr;
  }
  consumer.port = nullptr;
  if (consumer.options.exclusive) exclusive_ = false;  // there was no other
  --count_;
  if (has_active() && active_ == &consumer) active_ = first_in_line();
  if (sharing_ == Sharing::single_active_by_priority) first_ = first_in_line();
  drop_if_done(consumer);
}

void ConsumerSet::settled(QueueConsumer& consumer) {
  HARRIER_DCHECK(consumer.unacked > 0);
  --consumer.unacked;
  if (consumer.port == nullptr) {
    drop_if_done(consumer);
  } else {
    resume(consumer);
  }
}

void ConsumerSet::resume(QueueConsumer& consumer) {
  if (consumer.waiting_turn || consumer.port == nullptr || consumer.at_prefetch()) return;
  if (has_active()) return;
  rounds_[consumer.options.priority].push_back(&consumer);
  consumer.waiting_turn = true;
  front_ = nullptr;
}

QueueConsumer* ConsumerSet::next_of_rounds() {
  front_ = nullptr;
  if (has_active()) return next_active();
  // Levels without anybody in their round are dropped: a client may come with any number of them.
  for (auto level = rounds_.begin(); level != rounds_.end(); level = rounds_.erase(level)) {
    std::deque<QueueConsumer*>& round = level->second;
    while (!round.empty()) {
      QueueConsumer* consumer = round.front();
      if (!consumer->at_prefetch() && consumer->port->can_take()) return front_ = consumer;
      round.pop_front();
      consumer->waiting_turn = false;
    }
  }
  return nullptr;
}

QueueConsumer* ConsumerSet::next_active() {
  if (first_ != nullptr && first_->options.priority > active_->options.priority) {
    if (active_->unacked > 0) return nullptr;
    active_ = first_;
  }
  const bool able = active_ != nullptr && !active_->at_prefetch() && active_->port->can_take();
  return able ? active_ : nullptr;
}

void ConsumerSet::took(QueueConsumer& consumer) {
  if (count_ == 1 || has_active()) return;
  std::deque<QueueConsumer*>& round = rounds_[consumer.options.priority];
  HARRIER_DCHECK(!round.empty() && round.front() == &consumer);
  if (round.size() == 1) return;
  round.pop_front();
  round.push_back(&consumer);
  front_ = round.front();
}

QueueConsumer* ConsumerSet::first_in_line() const {
  QueueConsumer* first = nullptr;
  for (QueueConsumer* one : all()) {
    const bool goes_before =
        first == nullptr || one->options.priority > first->options.priority ||
        (one->options.priority == first->options.priority && one->number < first->number);
    if (goes_before) first = one;
  }
  return first;
}

std::vector<QueueConsumer*> ConsumerSet::all() const {
  std::vector<QueueConsumer*> live;
  for (const auto& consumer : consumers_) {
    if (consumer->port != nullptr) live.push_back(consumer.get());
  }
  return live;
}

void ConsumerSet::drop_if_done(QueueConsumer& consumer) {
  if (consumer.port != nullptr || consumer.unacked > 0) return;
  const auto place = std::find_if(consumers_.begin(), consumers_.end(),
                                  [&](const auto& held) { return held.get() == &consumer; });
  HARRIER_CHECK(place != consumers_.end());
  std::swap(*place, consumers_.back());
  consumers_.pop_back();
}

}  // namespace harrier
