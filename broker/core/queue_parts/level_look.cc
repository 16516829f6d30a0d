// What is done to single ready messages of a level that nobody consumes: they are looked at, taken
// out of the middle, replaced.

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "broker/core/message_records.h"
#include "broker/core/queue_parts/level.h"

namespace harrier {
namespace {

// Entries in one go, ready or not.
constexpr std::size_t kLookMax = 4096;

}  // namespace

LevelLook Level::look(Sequence from, Sequence end, std::size_t count) const {
  LevelLook look;
  std::size_t steps = 0;
  Sequence seq = entries_.next_unfinished(std::max(from, entries_.begin()));
  const Sequence memory_end = std::min(end, entries_.end());
  for (; seq < memory_end; seq = entries_.next_unfinished(seq + 1)) {
    look.next = seq;
    if (look.seen.size() == count || ++steps > kLookMax) return look;
    if (!is_ready(seq)) continue;
    const QueueEntry& entry = *entries_.find(seq);
    look.on_disk = !entry.message;
    if (look.on_disk) {
      look.disk_end = disk_end(seq, memory_end);
      return look;
    }
    look.seen.push_back({seq, entry.message});
  }
  look.next = std::max(from, memory_end);
  look.on_disk = look.next < end && !backlog_.empty();
  look.disk_end = end;
  if (!look.on_disk) look.next = end;
  return look;
}

Sequence Level::disk_end(Sequence seq, Sequence end) const {
  for (std::size_t steps = 0; seq < end && steps < kLookMax; ++steps) {
    const Sequence next = entries_.next_unfinished(seq);
    if (next >= end) return end;
    if (entries_.find(next)->message) return next;
    seq = next + 1;
  }
  return std::min(seq, end);
}

bool Level::has_ready(Sequence seq) const {
  if (seq < entries_.end()) return is_ready(seq);
  return seq < backlog_.end() && !withdrawn_.contains(seq);
}

bool Level::holds_another(Sequence seq, const Message& message) const {
  const QueueEntry* const entry = entries_.find(seq);
  if (entry == nullptr || !entry->message || entry->message.get() == &message) return false;
  // The same may have been read twice.
  return entry->message->body() != message.body() ||
         entry->message->properties() != message.properties();
}

bool Level::withdraw(Sequence seq, std::uint64_t body_bytes, bool persistent) {
  if (!has_ready(seq)) return false;
  if (seq < entries_.end()) {
    take(seq);
    finish(seq);
    return true;
  }
  if (doomed_ > 0) return false;
  const Tally was = persistent ? Tally{1, body_bytes} : Tally{};
  share_.batch.settle(*lane_, seq, was);
  if (const auto count = unread_counts_.find(seq); count != unread_counts_.end()) {
    share_.batch.delete_record(count_record_key(*lane_, seq));
    unread_counts_.erase(count);
  }
  if (share_.keys != nullptr) share_.keys->left(id_of(seq));
  backlog_.remove(was, body_bytes);
  withdrawn_.add(seq);
  pass_withdrawn();
  return true;
}

// What is gone from the begin of the backlog need not be remembered, unless a page with it is on
// its way.
void Level::pass_withdrawn() {
  if (reading_ == Reading::backlog || reading_ == Reading::void_page) return;
  const Sequence begin = withdrawn_.end_from(backlog_.begin());
  if (begin == backlog_.begin()) return;
  entries_.skip_to(begin);
  backlog_.advance_to(begin);
  withdrawn_.drop_below(begin);
  if (backlog_.empty()) finish_backlog();
}

bool Level::can_replace(Sequence seq, const Message& message, Timestamp expires_at) const {
  if (!backlog_.empty() || !is_ready(seq) || expires_at != kNoTime) return false;
  return entries_.find(seq)->expires_at == kNoTime &&
         share_.memory.may_hold(share_.held_bytes, memory_of(message));
}

void Level::replace(Sequence seq, MessageRef message, bool stored, Timestamp now) {
  QueueEntry& entry = *entries_.find(seq);
  if (entry.stored) {
    share_.batch.settle(*lane_, stored_as(seq),
                        entry.persistent ? Tally{1, entry.body_bytes} : Tally{});
    if (has_count_record(entry)) forget_count(seq);
    replaced_.erase(seq);
  }
  if (entry.message) let_go(*entry.message);
  ready_bytes_in_memory_ -= entry.body_bytes;
  if (stored) {
    replaced_[seq] = entries_.end();
    share_.batch.put(*lane_, entries_.end(), message, now, kNoTime);
    entries_.skip_to(entries_.end() + 1);
  }
  hold(*message);
  QueueEntry& now_there = *entries_.find(seq);
  now_there = QueueEntry();
  now_there.body_bytes = static_cast<std::uint32_t>(message->body().size());
  now_there.persistent = message->persistent();
  now_there.stored = stored;
  now_there.message = std::move(message);
  ready_bytes_in_memory_ += now_there.body_bytes;
}

void Level::record_delivered() {
  Sequence end = fresh_;
  for (const auto& [seq, stored] : replaced_) {
    const QueueEntry& entry = *entries_.find(seq);
    if (entry.unacked || entry.redelivered) end = std::max(end, stored + 1);
  }
  share_.batch.delivered_below(*lane_, end);
}

void Level::end_range(Sequence begin, Sequence end, const Tally& were) {
  share_.batch.settle_range(*lane_, begin, end, were);
  if (share_.keys != nullptr) share_.keys->left(id_of(begin), id_of(end));
}

}  // namespace harrier
