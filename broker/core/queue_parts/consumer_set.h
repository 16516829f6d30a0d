#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "broker/core/consumer.h"

namespace harrier {

// One consumer as its queue knows it.
struct QueueConsumer {
  Consumer* port = nullptr;  // null once cancelled; the record stays while deliveries are unacked
  ConsumerOptions options;
  std::uint32_t unacked = 0;
  std::uint64_t number = 0;   // in the order of their coming
  bool waiting_turn = false;  // stands in the round of its priority level

  bool at_prefetch() const { return options.prefetch != 0 && unacked >= options.prefetch; }
};

// Who gets the next message: round robin among the consumers that can take one, within the highest
// priority level that has any. A consumer that becomes able again joins the end of its level.
//
// Or one alone, the active consumer, until it is cancelled; then the oldest of the highest
// priority. Where priority decides one of a higher priority takes over once the active consumer has
// nothing unacknowledged any more.
class ConsumerSet {
 public:
  enum class Sharing : std::uint8_t {
    round_robin,
    single_active,
    single_active_by_priority,
  };

  explicit ConsumerSet(Sharing sharing = Sharing::round_robin) : sharing_(sharing) {}

  QueueConsumer& add(Consumer& port, ConsumerOptions options);
  // No further delivery goes to it.
  void cancel(QueueConsumer& consumer);
  // Call when a delivery to `consumer` was settled.
  void settled(QueueConsumer& consumer);
  // Call when `consumer` may have become able to take more.
  void resume(QueueConsumer& consumer);

  // The consumer whose turn it is, null when nobody can take a message. Those found unable drop out
  // of the round until resume() or settled().
  QueueConsumer* next() {
    if (front_ != nullptr && !front_->at_prefetch() && front_->port->can_take()) return front_;
    return next_of_rounds();
  }

  // The consumer given by next() got a message: its turn is over.
  void took(QueueConsumer& consumer);

  std::size_t count() const { return count_; }  // not cancelled

  bool has_exclusive() const { return exclusive_; }

  // Those that are not cancelled.
  std::vector<QueueConsumer*> all() const;

 private:
  bool has_active() const { return sharing_ != Sharing::round_robin; }

  QueueConsumer* next_active();
  QueueConsumer* next_of_rounds();
  void drop_if_done(QueueConsumer& consumer);
  QueueConsumer* first_in_line() const;

  const Sharing sharing_;
  QueueConsumer* active_ = nullptr;  // of those that are not cancelled, unless they share
  QueueConsumer* first_ = nullptr;   // of the highest priority, where that decides
  std::uint64_t last_number_ = 0;

  std::vector<std::unique_ptr<QueueConsumer>> consumers_;
  std::map<std::int32_t, std::deque<QueueConsumer*>, std::greater<>>
      rounds_;                      // by priority; none is empty after next()
  QueueConsumer* front_ = nullptr;  // of the first round; null: to be looked up
  std::size_t count_ = 0;
  bool exclusive_ = false;
};

}  // namespace harrier
