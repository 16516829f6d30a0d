// Messages with the same key that a queue takes only once (queue_parts/deduplication.h).

#include <algorithm>
#include <memory>
#include <utility>

#include "broker/core/death.h"
#include "broker/core/queue.h"
#include "broker/core/queue_lanes.h"
#include "protocol/delay_headers.h"
#include "protocol/properties.h"

namespace harrier {
namespace {

// Such a message never gets into a queue.
bool cancels_delayed(const Message& message) {
  if (!message.has_delay_headers()) return false;
  const auto properties = parse_properties(message.properties());
  return properties && properties->headers &&
         read_delay_headers(*properties->headers, kNoTime).cancels.has_value();
}

}  // namespace

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
  if (lane.lane == retry_lane(definition())) {
    if (settings_.max_priority > 0) return;  // priority 1 goes by that number
    begin = Level::id_of(1, 0);
  }
  keys_->recovered(begin, begin + DelayedMessages::kIdBit, begin + lane.first_seq,
                   begin + lane.next_seq);
}

Deduplication::Holder Queue::holder_of(Sequence id, const Message& message,
                                       Timestamp expires_at) const {
  return {id,
          id,
          static_cast<std::uint32_t>(message.body().size()),
          message.persistent(),
          is_durable() && message.persistent(),
          expires_at};
}

void Queue::carry_key(Sequence from, Sequence to, const Message& message, Timestamp expires_at) {
  const auto key = keys_->key_of(message);
  if (key) keys_->carry(*key, from, holder_of(to, message, expires_at), host_.now());
}

const Deduplication::Holder* Queue::find_earlier(const DeduplicationKey& key, Timestamp now) {
  const Deduplication::Holder* const earlier = keys_->find(key, now);
  return earlier == nullptr || is_lost(*earlier, now) ? nullptr : earlier;
}

bool Queue::is_lost(const Deduplication::Holder& holder, Timestamp now) {
  if (keys_->settings().scope == DeduplicationScope::window) return false;  // it was here once
  Level* const level = find_level(Level::number_in(holder.id));
  const Sequence seq = Level::sequence_in(holder.id);
  if (level != nullptr && level->is_doomed(seq)) return true;
  if (holder.expires_at == kNoTime || holder.expires_at > now) return false;
  return level == nullptr || level->find_unacked(seq) == nullptr;
}

std::optional<Enqueued> Queue::meet_duplicate(const MessageRef& message, Timestamp now,
                                              Admission admission) {
  const std::optional<DeduplicationKey>& key = keys_->read_key(*message);
  if (!key) return std::nullopt;
  const DeduplicationAction action = keys_->settings().action;
  const bool in_window = keys_->settings().scope == DeduplicationScope::window;
  const bool died_here = admission == Admission::returned || died_in(*message, definition().name);
  // One that died here and was sent back is not another message.
  if (in_window && died_here) return std::nullopt;
  if (keys_->is_reserved(*key)) {
    // By this very message, or by one that will come.
    if (has_room_kept(admission) && keys_->release(*key)) return std::nullopt;
    if (admission == Admission::accepted) return std::nullopt;  // nobody would send it again
    keys_->count_duplicate();
    return Enqueued::refused;
  }
  const Deduplication::Holder* const earlier = find_earlier(*key, now);
  if (earlier == nullptr) return std::nullopt;
  // What comes back is older than what came instead of it.
  if (action == DeduplicationAction::replace && !died_here) {
    return replace(*earlier, message, now, admission);
  }
  const bool is_safer = is_durable() && message->persistent() && !earlier->recorded;
  if (action == DeduplicationAction::drop && is_safer && (!in_window || has_ready(earlier->id))) {
    // Its publisher must not count on one that a restart forgets.
    return replace(*earlier, message, now, admission);
  }
  keys_->count_duplicate();
  if (action == DeduplicationAction::reject && admission == Admission::asked) {
    return Enqueued::refused;
  }
  if (has_room_kept(admission)) release(1, message->body().size());
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
  if (has_room_kept(admission)) release(1, bytes);
  keys_->count_duplicate();
  const bool durable = is_durable() && message->persistent();
  const Sequence stored_id = level->id_of(level->next_sequence());
  level->replace(seq, message, durable, now);
  Deduplication::Holder holder = holder_of(level->id_of(seq), *message, kNoTime);
  holder.stored_id = stored_id;
  keys_->remember(*keys_->last_key(), holder, now);
  drop_heads();
  read_ahead();
  return durable ? Enqueued::stored : Enqueued::held;
}

bool Queue::has_room_instead_of(std::uint64_t earlier_bytes, std::uint64_t bytes) const {
  if (settings_.max_length && kept_count() + reserved_count_ > *settings_.max_length) return false;
  return !settings_.max_length_bytes ||
         kept_bytes() + reserved_bytes_ + bytes <= *settings_.max_length_bytes + earlier_bytes;
}

void Queue::remember_key(Sequence id, const Message& message, Timestamp expires_at, Timestamp now) {
  const std::optional<DeduplicationKey>& key = keys_->last_key();
  if (key) keys_->remember(*key, holder_of(id, message, expires_at), now);
}

std::optional<DeduplicationKey> Queue::key_to_reserve(const Message& message,
                                                      Duplicates duplicates) {
  const DeduplicationSettings& settings = keys_->settings();
  const bool refuses_duplicates =
      duplicates == Duplicates::kept || settings.action == DeduplicationAction::reject;
  if (!refuses_duplicates || cancels_delayed(message)) return std::nullopt;
  const bool died_here = died_in(message, definition().name);
  if (died_here && settings.scope == DeduplicationScope::window) return std::nullopt;
  if (!died_here && settings.action == DeduplicationAction::replace) return std::nullopt;
  return keys_->key_of(message);
}

bool Queue::may_reserve(const DeduplicationKey& key, std::span<const Sequence> ended) {
  const Deduplication::Holder* const earlier = find_earlier(key, host_.now());
  if (earlier == nullptr) return true;
  return keys_->settings().scope == DeduplicationScope::in_queue &&
         std::ranges::find(ended, earlier->id) != ended.end();
}

bool Queue::reserve_keys(std::span<const MessageRef> messages, Duplicates duplicates,
                         std::span<const Sequence> ended) {
  if (!keys_) return true;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto key = key_to_reserve(*messages[i], duplicates);
    if (!key) continue;
    if (may_reserve(*key, ended) && keys_->reserve(*key)) continue;
    release_keys(messages.first(i), duplicates);
    keys_->count_duplicate();
    return false;
  }
  return true;
}

void Queue::release_keys(std::span<const MessageRef> messages, Duplicates duplicates) {
  if (!keys_) return;
  for (const MessageRef& message : messages) {
    if (const auto key = key_to_reserve(*message, duplicates)) keys_->release(*key);
  }
}

}  // namespace harrier
