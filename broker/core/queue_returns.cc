// What becomes of an unacknowledged message that comes back to its queue.

#include <algorithm>
#include <utility>

#include "broker/core/queue.h"
#include "broker/core/retry_delay.h"

namespace harrier {

void Queue::take_back(Level& level, Sequence seq, QueueEntry& entry, Settlement how) {
  if (settings_.counts_deliveries()) {
    if (counts(how)) {
      level.set_delivery_count(seq, entry, entry.delivery_count + 1);
    } else if (how == Settlement::unseen &&
               settings_.delivery_count_mode == DeliveryCountMode::acquired) {
      level.set_delivery_count(seq, entry, std::max(entry.delivery_count + 0U, 1U) - 1);
    }
    if (settings_.delivery_limit && entry.delivery_count > *settings_.delivery_limit) {
      return die(level, seq, DeathReason::delivery_limit);
    }
  }
  if (waits_before_retry(how)) return retry_later(level, seq, entry);
  const Timestamp expires_at = entry.expires_at;
  if (expires_at != kNoTime && expires_at <= host_.now()) {
    return die(level, seq, DeathReason::expired);
  }
  level.give_back(seq, entry);
  if (expires_at != kNoTime) expect(expires_at);
}

bool Queue::counts(Settlement how) const {
  switch (settings_.delivery_count_mode) {
    case DeliveryCountMode::returned:
      return how != Settlement::unseen;
    case DeliveryCountMode::failed:
      return how == Settlement::failed || how == Settlement::lost;
    case DeliveryCountMode::acquired:
      return false;  // each was counted when it was handed out
  }
  return false;
}

bool Queue::waits_before_retry(Settlement how) const {
  if (!is_retried_later(settings_.retry.type, how)) return false;
  return counts(how) || settings_.delivery_count_mode == DeliveryCountMode::acquired;
}

void Queue::retry_later(Level& level, Sequence seq, QueueEntry& entry) {
  const std::uint32_t count = std::max<std::uint32_t>(entry.delivery_count, 1);
  const Timestamp due = host_.now() + retry_delay(settings_.retry, count, delayed().chance());
  const Timestamp expires_at = entry.expires_at;
  if (MessageRef message = entry.message) {
    if (keys_) {
      carry_key(level.id_of(seq), DelayedMessages::id_of(delayed().next_sequence()), *message,
                expires_at);
    }
    delay({std::move(message), expires_at, due, count});
    return level.finish(seq, entry);
  }
  // It was paged out when it was delivered, and has to be read first.
  delayed().await_return(level.id_of(seq), due);
  (void)level.lay_out(seq, DeathReason::delivery_limit);  // take_return() comes before the reason
  level.read_ahead(false);
}

bool Queue::take_return(Level& level, const DeadLetter& letter) {
  const auto due = delayed().take_return(level.id_of(letter.seq));
  if (!due) return false;
  const QueueEntry& entry = *level.find_dead(letter.seq);
  if (*due == kNoTime) {  // purged meanwhile
    level.finish(letter.seq, entry);
    return true;
  }
  if (keys_) {
    carry_key(level.id_of(letter.seq), DelayedMessages::id_of(delayed().next_sequence()),
              *letter.message, entry.expires_at);
  }
  delay({letter.message, entry.expires_at, *due, std::max<std::uint32_t>(entry.delivery_count, 1)});
  level.finish(letter.seq, entry);
  return true;
}

void Queue::load(const std::vector<Sequence>& ids, Task done) {
  const bool has_another_use =
      settings_.dead_letter_exchange || settings_.retry.type != RetryType::disabled;
  if (closed_ || !has_another_use) return done();
  for (const Sequence id : ids) {
    if (Level* level = find_level(Level::number_in(id))) {
      level->want_message(Level::sequence_in(id));
    }
  }
  if (!is_loading()) return done();
  loads_.push_back(std::move(done));
  read_ahead();
}

bool Queue::is_loading() {
  bool loading = false;
  each_level([&](const Level& level) { loading |= level.wants_messages(); });
  return loading;
}

void Queue::end_loading() {
  for (Task& done : std::exchange(loads_, {}))
    host_.later(std::move(done));
}

}  // namespace harrier
