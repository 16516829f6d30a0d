// Messages with the same key that a queue takes only once (queue_parts/deduplication.h).

#include <memory>
#include <utility>

#include "broker/core/death.h"
#include "broker/core/queue.h"
#include "broker/core/queue_lanes.h"

namespace harrier {

void Queue::apply_deduplication(Timestamp now) {
  if (settings_.deduplication.enabled) {
    if (keys_) return keys_->apply(settings_.deduplication, now);
    keys_ = std::make_unique<Deduplication>(
        settings_.deduplication, share_.batch,
        is_durable() ? std::optional(definition().lane) : std::nullopt);
  } else if (keys_) {
    keys_->forget_all();
    keys_.reset();
  }
  share_.keys = keys_.get();
}

void Queue::recover_key(const KeyRecord& record) {
  if (keys_) return keys_->recover(record);
  share_.batch.delete_record(key_record_key(record.queue, record.key));
}

void Queue::check_keys(const RecoveredLane& lane) {
  Sequence begin =
      Level::id_of(static_cast<std::uint8_t>(lane.lane.value - definition().lane.value), 0);
  if (lane.lane == definition().delay_lane) begin = DelayedMessages::id_of(0);
  if (lane.lane == retry_lane(definition())) begin = Level::id_of(1, 0);
  keys_->recovered(begin, begin + DelayedMessages::kIdBit, begin + lane.first_seq,
                   begin + lane.next_seq);
}

void Queue::carry_key(Sequence from, Sequence to, const Message& message) {
  const auto key = keys_->key_of(message);
  if (!key) return;
  const Deduplication::Holder holder{to, to, static_cast<std::uint32_t>(message.body().size()),
                                     message.persistent(), is_durable() && message.persistent()};
  keys_->carry(*key, from, holder, host_.now());
}

std::optional<Enqueued> Queue::meet_duplicate(const MessageRef& message, Timestamp now,
                                              Admission admission) {
  const std::optional<DeduplicationKey>& key = keys_->read_key(*message);
  if (!key) return std::nullopt;
  const DeduplicationAction action = keys_->settings().action;
  if (keys_->is_reserved(*key)) {
    // By this very message, or by one of a transaction that will come.
    if (admission == Admission::reserved && keys_->release(*key)) return std::nullopt;
    keys_->count_duplicate();
    return Enqueued::refused;
  }
  const Deduplication::Holder* const earlier = keys_->find(*key, now);
  if (earlier == nullptr) return std::nullopt;
  // One that died here and was sent back is not another message.
  if (keys_->settings().scope == DeduplicationScope::window &&
      died_in(*message, definition().name)) {
    return std::nullopt;
  }
  if (action == DeduplicationAction::replace) return replace(*earlier, message, now, admission);
  keys_->count_duplicate();
  if (action == DeduplicationAction::reject && admission == Admission::asked) {
    return Enqueued::refused;
  }
  if (admission == Admission::reserved) release(1, message->body().size());
  // Its publisher may count on the earlier one, once that is safe.
  return earlier->recorded && message->persistent() ? Enqueued::stored : Enqueued::held;
}

std::optional<Enqueued> Queue::replace(const Deduplication::Holder& earlier,
                                       const MessageRef& message, Timestamp now,
                                       Admission admission) {
  Level* const level = find_level(Level::number_in(earlier.id));
  const Sequence seq = Level::sequence_in(earlier.id);
  if (level == nullptr || !level->has_ready(seq)) return std::nullopt;
  const std::uint64_t bytes = message->body().size();
  if (admission == Admission::asked && settings_.overflow != Overflow::drop_head &&
      !has_room_instead_of(earlier.body_bytes, bytes)) {
    return refuses(message) ? Enqueued::refused : std::optional<Enqueued>();
  }
  const Timestamp expires_at = deadline_of(*message, now);
  const bool keeps_place = !keys_->settings().moves_to_tail && !message->has_delay_headers() &&
                           level == &level_of(*message) &&
                           level->can_replace(seq, *message, expires_at);
  if (!keeps_place) {
    if (level->withdraw(seq, earlier.body_bytes, earlier.persistent)) keys_->count_duplicate();
    return std::nullopt;
  }
  if (admission == Admission::reserved) release(1, bytes);
  keys_->count_duplicate();
  const bool durable = is_durable() && message->persistent();
  const Sequence stored_id = level->id_of(level->next_sequence());
  level->replace(seq, message, durable, now);
  keys_->remember(*keys_->last_key(),
                  {level->id_of(seq), stored_id, static_cast<std::uint32_t>(bytes),
                   message->persistent(), durable},
                  now);
  drop_heads();
  read_ahead();
  return durable ? Enqueued::stored : Enqueued::held;
}

bool Queue::has_room_instead_of(std::uint64_t earlier_bytes, std::uint64_t bytes) const {
  if (settings_.max_length && kept_count() + reserved_count_ > *settings_.max_length) return false;
  return !settings_.max_length_bytes ||
         kept_bytes() + reserved_bytes_ + bytes <= *settings_.max_length_bytes + earlier_bytes;
}

void Queue::remember_key(Sequence id, const Message& message, bool durable, Timestamp now) {
  const std::optional<DeduplicationKey>& key = keys_->last_key();
  if (!key) return;
  keys_->remember(
      *key,
      {id, id, static_cast<std::uint32_t>(message.body().size()), message.persistent(), durable},
      now);
}

bool Queue::reserve_keys(std::span<const MessageRef> messages) {
  if (!keys_ || keys_->settings().action != DeduplicationAction::reject) return true;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto key = keys_->key_of(*messages[i]);
    if (!key || keys_->reserve(*key, host_.now())) continue;
    release_keys(messages.first(i));
    keys_->count_duplicate();
    return false;
  }
  return true;
}

void Queue::release_keys(std::span<const MessageRef> messages) {
  if (!keys_) return;
  for (const MessageRef& message : messages) {
    if (const auto key = keys_->key_of(*message)) keys_->release(*key);
  }
}

}  // namespace harrier
