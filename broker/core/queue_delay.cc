// Messages of a queue that are delayed: how they come and when they go.

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "broker/core/errors.h"
#include "broker/core/queue.h"
#include "broker/core/queue_lanes.h"
#include "broker/core/resource_names.h"
#include "protocol/delay_headers.h"
#include "protocol/properties.h"

namespace harrier {
namespace {

constexpr Logger kLog("queue");

}  // namespace

DelayedMessages& Queue::delayed() {
  if (!delayed_) {
    const std::optional<LaneId> lane =
        is_durable() ? std::optional(definition().delay_lane) : std::nullopt;
    const auto now = static_cast<std::uint64_t>(host_.now().time_since_epoch().count());
    delayed_ = std::make_unique<DelayedMessages>(share_, lane, now ^ handle_.id().value);
  }
  return *delayed_;
}

void Queue::recover_delayed(const DelayRecord& record) {
  delayed().recover(record);
}

std::optional<Enqueued> Queue::enqueue_by_headers(const MessageRef& message, Timestamp now,
                                                  Admission admission) {
  const auto properties = parse_properties(message->properties());
  if (!properties || !properties->headers) return std::nullopt;
  const DelayHeaders said = read_delay_headers(*properties->headers, now);
  if (said.cancels) {
    if (has_room_kept(admission)) release(1, message->body().size());
    const std::size_t cancelled = cancel_delayed(*said.cancels);
    return cancelled > 0 && is_durable() ? Enqueued::stored : Enqueued::held;
  }
  if (!said.due || *said.due <= now) return std::nullopt;
  if (keys_) {
    if (const auto met = meet_duplicate(message, now, admission)) return *met;
  }
  return enqueue_delayed(message, said, now, admission);
}

Enqueued Queue::enqueue_delayed(const MessageRef& message, const DelayHeaders& said, Timestamp now,
                                Admission admission) {
  const std::uint64_t bytes = message->body().size();
  const bool drops_head = settings_.overflow == Overflow::drop_head;
  if (has_room_kept(admission)) {
    release(1, bytes);
  } else if (!drops_head && refuses(message)) {
    return Enqueued::refused;
  }
  if (drops_head && is_limited() && ready_count() == 0 && !has_room_for(1, bytes)) {
    // Nothing is ready that could go in its place.
    if (settings_.dead_letter_exchange) {
      host_.dead_letter(*this, {0, message, DeathReason::maxlen});
    }
    return Enqueued::held;
  }
  const Timestamp expires_at = deadline_of(*message, now);
  if (keys_) {
    remember_key(DelayedMessages::id_of(delayed().next_sequence()), *message, expires_at, now);
  }
  delay({message, expires_at, *said.due, 0});
  drop_heads();
  if (is_durable() && message->persistent()) return Enqueued::stored;
  return delayed().lane() ? Enqueued::paged : Enqueued::held;
}

void Queue::delay(DelayedMessages::Arrival arrival) {
  const Timestamp due = arrival.due;
  delayed().add(std::move(arrival), host_.now());
  wake_by(std::min(due, host_.now() + kWakeMax));
}

Level& Queue::retry_level() {
  upper_.resize(1);
  if (!upper_[0]) {
    const std::optional<LaneId> lane =
        is_durable() ? std::optional(retry_lane(definition())) : std::nullopt;
    upper_[0] = std::make_unique<Level>(share_, lane, 1);
  }
  return *upper_[0];
}

void Queue::release_due(Timestamp now) {
  bool any = false;
  for (;;) {
    delayed_->collect(now);
    if (!delayed_->is_collecting()) break;
    const std::vector<DelayedMessages::Released> released = delayed_->take_released();
    for (const DelayedMessages::Released& one : released)
      release(one, now);
    any = any || !released.empty();
    if (delayed_->is_collecting()) break;  // until it is read
  }
  report_unreadable_delayed();
  if (!delayed_->is_collecting() && delayed_->next_due() != kNever) {
    wake_by(std::min(delayed_->next_due(), now + kWakeMax));
  }
  if (any) pump();
}

void Queue::release(const DelayedMessages::Released& released, Timestamp now) {
  const MessageRef& message = released.message;
  const bool durable = is_durable() && message->persistent();
  const bool is_retry = released.delivery_count > 0 && settings_.max_priority == 0;
  Level& level = is_retry ? retry_level() : level_of(*message);
  const Level::Place place = level.place_for(*message, [this] { return has_free_consumer(); });
  if (keys_) carry_key(0, level.id_of(level.next_sequence()), *message, released.expires_at);
  if (place == Level::Place::store) {
    level.page_out(message, now, released.expires_at);
  } else {
    level.push(message, durable || place == Level::Place::both, now, released.expires_at);
  }
  if (released.delivery_count > 0) level.mark_returned(place, *message, released.delivery_count);
  if (released.expires_at != kNoTime) expect(released.expires_at);
}

void Queue::delayed_paged_in(LanePage&& page) {
  delayed_->paged_in(std::move(page));
  release_due(host_.now());
}

void Queue::report_unreadable_delayed() {
  const std::size_t unreadable = delayed_->take_unreadable();
  if (unreadable == 0) return;
  kLog.error("{}: {} delayed messages cannot be read; harrierd --check-data tells more",
             queue_text(definition().name, definition().vhost), unreadable);
}

std::size_t Queue::release_delayed() {
  if (closed_ || !delayed_) return 0;
  const std::size_t count = delayed_->count();
  delayed_->make_all_due();
  release_due(host_.now());
  return count;
}

std::size_t Queue::cancel_delayed(std::string_view key) {
  return closed_ || !delayed_ ? 0 : delayed_->cancel(key);
}

}  // namespace harrier
