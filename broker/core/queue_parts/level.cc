#include "broker/core/queue_parts/level.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/assert.h"

namespace harrier {

void Level::recover(const RecoveredLane& lane) {
  HARRIER_DCHECK(entries_.end() == 1);
  backlog_.recover(lane);
  entries_.skip_to(lane.first_seq);
  fresh_ = lane.first_seq;
}

void Level::push(MessageRef message, bool stored, Timestamp now) {
  if (stored) share_.batch.put(*lane_, entries_.end(), message, now, kNoTime);
  push_ready(std::move(message), stored, false);
}

void Level::push_ready(MessageRef message, bool stored, bool redelivered) {
  hold(*message);
  ++ready_in_memory_;
  ready_bytes_in_memory_ += message->body().size();
  QueueEntry entry;
  entry.body_bytes = static_cast<std::uint32_t>(message->body().size());
  entry.persistent = message->persistent();
  entry.redelivered = redelivered;
  entry.stored = stored;
  entry.message = std::move(message);
  entries_.push(std::move(entry));
}

void Level::page_out(MessageRef message, Timestamp now) {
  const Sequence seq = backlog_.push(*message, entries_.end());
  share_.batch.put(*lane_, seq, std::move(message), now, kNoTime);
}

Sequence Level::take_ready() {
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

Delivery Level::hand_out(Sequence seq, QueueConsumer* to, bool no_ack) {
  QueueEntry& entry = *entries_.find(seq);
  if (no_ack) {
    let_go(*entry.message);
    Delivery delivery{seq, std::move(entry.message), entry.redelivered};
    finish(seq, entry);
    return delivery;
  }
  entry.unacked = true;
  entry.consumer = to;
  // Its consumer has it and the store has it: over budget that is enough.
  if (entry.stored && !share_.memory.may_hold(share_.held_bytes, 0)) {
    let_go(*entry.message);
    return Delivery{seq, std::move(entry.message), entry.redelivered};
  }
  return Delivery{seq, entry.message, entry.redelivered};
}

void Level::give_back(Sequence seq, QueueEntry& entry) {
  entry.unacked = false;
  entry.redelivered = true;
  ++ready_in_memory_;
  ready_bytes_in_memory_ += entry.body_bytes;
  returned_.push_back(seq);
  std::push_heap(returned_.begin(), returned_.end(), std::greater<>());
}

void Level::finish(Sequence seq, const QueueEntry& entry) {
  if (entry.stored) {
    share_.batch.settle(*lane_, seq, entry.persistent ? Tally{1, entry.body_bytes} : Tally{});
  }
  if (entry.message) let_go(*entry.message);
  entries_.finish(seq);
}

std::size_t Level::purge() {
  const std::size_t purged = ready_count();
  while (ready_in_memory_ > 0) {
    const Sequence seq = take_ready();
    finish(seq, *entries_.find(seq));
  }
  if (!backlog_.empty()) {
    share_.batch.settle_range(*lane_, backlog_.begin(), backlog_.end(), backlog_.tally());
    entries_.skip_to(backlog_.end());
    fresh_ = entries_.end();
    backlog_.clear();
  }
  if (reading_ != Reading::nothing) reading_ = Reading::void_page;
  damaged_ = false;
  return purged;
}

void Level::read_next_page() {
  if (reading_ != Reading::nothing || damaged_) return;
  if (!returned_.empty() && !head_is_loaded()) {
    request(Reading::returned, returned_.front(), entries_.end());
  } else if (!backlog_.empty() &&
             ready_bytes_in_memory_ + ready_in_memory_ * kEntryBytes < page_bytes()) {
    request(Reading::backlog, backlog_.begin(), backlog_.end());
  }
}

void Level::request(Reading what, Sequence from, Sequence end) {
  reading_ = what;
  reading_from_ = from;
  share_.host.read(share_.queue,
                   {.lane = *lane_, .from = from, .end = end, .bytes_max = page_bytes()});
}

std::size_t Level::page_bytes() const {
  return static_cast<std::size_t>(
      std::clamp(share_.memory.free() / 4, kPageBytesMin, kPageBytesMax));
}

std::optional<std::string> Level::paged_in(LanePage&& page) {
  const Reading what = std::exchange(reading_, Reading::nothing);
  std::optional<std::string> damage;
  if (page.damage && page.entries.empty() && what != Reading::void_page) {
    damage = page.damage->detail;
  } else if (what == Reading::backlog) {
    take_page(std::move(page));
  } else if (what == Reading::returned) {
    damage = restore_returned(std::move(page));
  }
  if (damage) damaged_ = true;
  return damage;
}

void Level::take_page(LanePage&& page) {
  Sequence looked_at = backlog_.begin();
  for (StoredEntry& entry : page.entries) {
    // Nothing is left of these; were they left open, the lane's floor would stop there.
    if (looked_at < entry.seq) share_.batch.settle_range(*lane_, looked_at, entry.seq, {});
    looked_at = entry.seq + 1;
    entries_.skip_to(entry.seq);
    backlog_.pop(*entry.message);
    push_ready(std::move(entry.message), true, entry.redelivered);
  }
  if (looked_at < page.next) share_.batch.settle_range(*lane_, looked_at, page.next, {});
  entries_.skip_to(page.next);
  backlog_.advance_to(page.next);
  if (backlog_.empty()) finish_backlog();
}

// All of it is in memory now, or nothing is left of it.
void Level::finish_backlog() {
  missing_ += backlog_.count();
  if (backlog_.begin() < backlog_.end()) {
    share_.batch.settle_range(*lane_, backlog_.begin(), backlog_.end(), backlog_.tally());
  }
  if (entries_.end() < backlog_.end()) entries_.skip_to(backlog_.end());
  if (ready_in_memory_ == 0) fresh_ = entries_.end();
  backlog_.clear();
}

std::optional<std::string> Level::restore_returned(LanePage&& page) {
  for (StoredEntry& stored : page.entries) {
    QueueEntry* entry = entries_.find(stored.seq);
    if (entry == nullptr || entry->unacked || entry->message) continue;
    hold(*stored.message);
    entry->message = std::move(stored.message);
  }
  const QueueEntry* asked_for = entries_.find(reading_from_);
  if (asked_for != nullptr && !asked_for->unacked && !asked_for->message) {
    return "the store does not have it";
  }
  return std::nullopt;
}

void Level::hold(const Message& message) {
  share_.held_bytes += memory_of(message);
  share_.memory.add(memory_of(message));
}

void Level::let_go(const Message& message) {
  share_.held_bytes -= memory_of(message);
  share_.memory.remove(memory_of(message));
}

std::uint64_t Level::check_invariants() const {
  std::size_t ready = 0;
  std::uint64_t bytes = 0;
  std::uint64_t held = 0;
  auto& entries = const_cast<SequenceWindow<QueueEntry>&>(entries_);  // find() is not const
  for (Sequence seq = entries.next_unfinished(entries.begin()); seq < entries.end();
       seq = entries.next_unfinished(seq + 1)) {
    const QueueEntry& entry = *entries.find(seq);
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
  HARRIER_CHECK(backlog_.empty() || backlog_.begin() == entries_.end());
  HARRIER_CHECK(!backlog_.empty() || backlog_.count() == 0);
  return held;
}

}  // namespace harrier
