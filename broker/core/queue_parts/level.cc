#include "broker/core/queue_parts/level.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/assert.h"
#include "broker/core/message_records.h"

namespace harrier {
namespace {

// Of QueueEntry::delivery_count.
constexpr std::uint32_t kCountMax = (1U << 26) - 1;

}  // namespace

void Level::recover(const RecoveredLane& lane) {
  HARRIER_DCHECK(entries_.end() == 1);
  backlog_.recover(lane);
  entries_.skip_to(lane.first_seq);
  fresh_ = lane.first_seq;
  if (has_deadline_record_ && !backlog_.empty()) backlog_.expect_deadlines();
}

void Level::drop_lane() {
  if (!lane_) return;
  if (has_deadline_record_) share_.batch.delete_record(deadline_record_key(*lane_));
  drop_unread_counts();
  for (Sequence seq = entries_.begin(); count_records_ > 0 && seq < entries_.end();
       seq = entries_.next_unfinished(seq + 1)) {
    const QueueEntry* entry = entries_.find(seq);
    if (entry != nullptr && has_count_record(*entry)) forget_count(seq);
  }
  share_.batch.drop_lane(*lane_);
}

void Level::push(MessageRef message, bool stored, Timestamp now, Timestamp expires_at) {
  if (stored) {
    if (expires_at != kNoTime) record_deadlines();
    share_.batch.put(*lane_, entries_.end(), message, now, expires_at);
  }
  push_ready(std::move(message), stored, expires_at);
}

inline QueueEntry& Level::push_ready(MessageRef&& message, bool stored, Timestamp expires_at) {
  hold(*message);
  if (expires_at == kNoTime) {
    deadlines_.add_endless();
  } else {
    note_deadline(entries_.end(), expires_at);
  }
  QueueEntry& entry = entries_.push();
  entry.expires_at = expires_at;
  entry.body_bytes = static_cast<std::uint32_t>(message->body().size());
  entry.persistent = message->persistent();
  entry.stored = stored;
  entry.message = std::move(message);
  ++ready_in_memory_;
  ready_bytes_in_memory_ += entry.body_bytes;
  return entry;
}

void Level::note_deadline(Sequence seq, Timestamp expires_at) {
  if (entries_.empty()) deadlines_.reset();
  deadlines_.add(seq, expires_at);
  if (deadlines_.size() <= 64 || deadlines_.size() <= 2 * entries_.unfinished()) return;
  // The newest is about to be pushed.
  deadlines_.keep_if(
      [&](Sequence early) { return early == seq || entries_.find(early) != nullptr; });
}

void Level::page_out(MessageRef message, Timestamp now, Timestamp expires_at) {
  if (expires_at != kNoTime) record_deadlines();
  const Sequence seq = backlog_.push(*message, entries_.end(), expires_at);
  share_.batch.put(*lane_, seq, std::move(message), now, expires_at);
}

// A restart knows nothing of single messages until they are read; this tells it to read them.
void Level::record_deadlines() {
  if (std::exchange(has_deadline_record_, true)) return;
  share_.batch.put_record(deadline_record_key(*lane_), "");
}

inline Level::Taken Level::take_oldest() {
  HARRIER_DCHECK(ready_in_memory_ > 0);
  Taken head{fresh_, entries_.find(fresh_)};
  if (!returned_.empty()) {
    head = take_returned();
  } else {
    if (head.entry == nullptr || head.entry->dead)
      head.entry = entries_.find(head.seq = this->head());
    fresh_ = head.seq + 1;
  }
  --ready_in_memory_;
  ready_bytes_in_memory_ -= head.entry->body_bytes;
  return head;
}

Level::Taken Level::take_returned() {
  std::pop_heap(returned_.begin(), returned_.end(), std::greater<>());
  const Sequence seq = returned_.back();
  returned_.pop_back();
  drop_stale_returned();
  return {seq, entries_.find(seq)};
}

Sequence Level::take_ready() {
  return take_oldest().seq;
}

Sequence Level::head() const {
  if (!returned_.empty()) return returned_.front();
  Sequence seq = entries_.next_unfinished(fresh_);
  while (dead_count_ > 0 && entries_.find(seq)->dead)
    seq = entries_.next_unfinished(seq + 1);
  return seq;
}

bool Level::is_ready(Sequence seq) const {
  const QueueEntry* entry = entries_.find(seq);
  return entry != nullptr && !entry->unacked && !entry->dead;
}

void Level::take(Sequence seq) {
  const QueueEntry& entry = *entries_.find(seq);
  --ready_in_memory_;
  ready_bytes_in_memory_ -= entry.body_bytes;
}

// Those that were taken out of the middle: the front is always ready.
void Level::drop_stale_returned() {
  while (!returned_.empty() && !is_ready(returned_.front())) {
    std::pop_heap(returned_.begin(), returned_.end(), std::greater<>());
    returned_.pop_back();
  }
}

std::optional<Sequence> Level::take_expired(Timestamp now) {
  if (ready_in_memory_ > 0) {
    const Timestamp due = entries_.find(head())->expires_at;
    if (due != kNoTime && due <= now) return take_ready();
  }
  while (deadlines_.earliest() <= now) {
    const Sequence seq = deadlines_.pop();
    if (!is_ready(seq)) continue;
    take(seq);
    return seq;
  }
  return std::nullopt;
}

Timestamp Level::next_deadline() const {
  Timestamp next = deadlines_.earliest();
  if (ready_in_memory_ > 0) {
    const Timestamp due = entries_.find(head())->expires_at;
    if (due != kNoTime) next = std::min(next, due);
  } else if (!backlog_.empty() && reading_ == Reading::nothing && !damaged_) {
    next = std::min(next, backlog_.deadline());
  }
  return next;
}

Delivery Level::hand_out(QueueConsumer* to, bool no_ack) {
  const Taken head = take_oldest();
  const Sequence seq = head.seq;
  QueueEntry& entry = *head.entry;
  if (no_ack) {
    let_go(*entry.message);
    Delivery delivery{seq, std::move(entry.message), entry.redelivered, entry.delivery_count};
    finish(seq, entry);
    return delivery;
  }
  entry.unacked = true;
  entry.consumer = to;
  // Its consumer has it and the store has it: over budget that is enough.
  if (entry.stored && !share_.memory.may_hold(share_.held_bytes, 0) && stored_as(seq) == seq) {
    let_go(*entry.message);
    return Delivery{seq, std::move(entry.message), entry.redelivered, entry.delivery_count};
  }
  return Delivery{seq, entry.message, entry.redelivered, entry.delivery_count};
}

void Level::give_back(Sequence seq, QueueEntry& entry) {
  entry.unacked = false;
  entry.redelivered = true;
  ++ready_in_memory_;
  ready_bytes_in_memory_ += entry.body_bytes;
  returned_.push_back(seq);
  std::push_heap(returned_.begin(), returned_.end(), std::greater<>());
}

void Level::set_delivery_count(Sequence seq, QueueEntry& entry, std::uint32_t count) {
  const bool had_record = has_count_record(entry);
  entry.delivery_count = std::min(count, kCountMax) & kCountMax;
  if (has_count_record(entry)) {
    share_.batch.put_record(count_record_key(*lane_, stored_as(seq)),
                            count_record(entry.delivery_count));
    if (!had_record) ++count_records_;
  } else if (had_record) {
    forget_count(seq);
  }
}

void Level::mark_returned(Place where, const Message& message, std::uint32_t delivery_count) {
  if (where != Place::store) {
    QueueEntry& entry = *entries_.find(entries_.end() - 1);
    entry.redelivered = true;
    return set_delivery_count(entries_.end() - 1, entry, delivery_count);
  }
  const Sequence seq = backlog_.end() - 1;
  unread_counts_[seq] = delivery_count;
  if (!share_.durable || !message.persistent()) return;
  share_.batch.put_record(count_record_key(*lane_, seq), count_record(delivery_count));
}

void Level::forget_count(Sequence seq) {
  share_.batch.delete_record(count_record_key(*lane_, stored_as(seq)));
  --count_records_;
}

void Level::drop_unread_counts() {
  for (const auto& [seq, count] : unread_counts_)
    share_.batch.delete_record(count_record_key(*lane_, seq));
  unread_counts_.clear();
}

MessageRef Level::lay_out(Sequence seq, DeathReason reason) {
  QueueEntry& entry = *entries_.find(seq);
  entry.unacked = false;
  entry.dead = true;
  ++dead_count_;
  drop_stale_returned();
  if (!entry.message) unread_dead_.push_back({seq, {}, reason});
  return entry.message;
}

std::vector<DeadLetter> Level::take_risen() {
  return std::exchange(risen_, {});
}

void Level::finish(Sequence seq, const QueueEntry& entry) {
  if (entry.stored) {
    share_.batch.settle(*lane_, stored_as(seq),
                        entry.persistent ? Tally{1, entry.body_bytes} : Tally{});
    if (has_count_record(entry)) forget_count(seq);
    if (!replaced_.empty()) replaced_.erase(seq);
  }
  if (share_.keys != nullptr) share_.keys->left(id_of(seq));
  if (entry.message) let_go(*entry.message);
  if (entry.dead) --dead_count_;
  entries_.finish(seq);
  if (!returned_.empty()) drop_stale_returned();
}

std::size_t Level::purge() {
  const std::size_t purged = ready_count();
  while (ready_in_memory_ > 0) {
    finish(take_ready());
  }
  if (!backlog_.empty()) {
    end_range(backlog_.begin(), backlog_.end(), backlog_.tally());
    withdrawn_.clear();
    entries_.skip_to(backlog_.end());
    fresh_ = entries_.end();
    backlog_.clear();
    drop_unread_counts();
    doomed_ = 0;
  }
  if (reading_ != Reading::nothing) reading_ = Reading::void_page;
  damaged_ = false;
  return purged;
}

void Level::read_next_page() {
  if (reading_ != Reading::nothing || damaged_) return;
  if (!unread_dead_.empty()) {
    request(Reading::returned, unread_dead_.front().seq, entries_.end());
  } else if (!wanted_.empty()) {
    request(Reading::returned, wanted_.front(), entries_.end());
  } else if (!returned_.empty() && !head_is_loaded()) {
    request(Reading::returned, returned_.front(), entries_.end());
  } else if (!backlog_.empty() &&
             (doomed_ > 0 ||
              ready_bytes_in_memory_ + ready_in_memory_ * kEntryBytes < page_bytes())) {
    request(Reading::backlog, backlog_.begin(), backlog_.end());
  }
}

void Level::read_backlog() {
  if (reading_ != Reading::nothing || damaged_ || backlog_.empty()) return;
  request(Reading::backlog, backlog_.begin(), backlog_.end());
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
  if (what == Reading::returned) {
    damage = restore_returned(std::move(page));
  } else if (what == Reading::backlog && page.damage && page.entries.empty()) {
    damage = page.damage->detail;
  } else if (what == Reading::backlog) {
    take_page(std::move(page));
  }
  if (damage) {
    damaged_ = true;
    wanted_.clear();
  }
  return damage;
}

void Level::take_page(LanePage&& page) {
  Sequence looked_at = backlog_.begin();
  for (StoredEntry& entry : page.entries) {
    if (withdrawn_.contains(entry.seq)) continue;
    // Nothing is left of these; were they left open, the lane's floor would stop there.
    if (looked_at < entry.seq) end_range(looked_at, entry.seq, {});
    looked_at = entry.seq + 1;
    entries_.skip_to(entry.seq);
    backlog_.pop(*entry.message);
    QueueEntry& read = push_ready(std::move(entry.message), true, entry.expires_at);
    read.redelivered = entry.redelivered;
    if (const auto count = unread_counts_.find(entry.seq); count != unread_counts_.end()) {
      read.delivery_count = count->second & kCountMax;
      read.redelivered = true;
      if (has_count_record(read)) ++count_records_;
      unread_counts_.erase(count);
    }
    if (doomed_ > 0) {
      --doomed_;
      take(entry.seq);
      read_doomed_.push_back(entry.seq);
    }
  }
  if (looked_at < page.next) end_range(looked_at, page.next, {});
  entries_.skip_to(page.next);
  backlog_.advance_to(page.next);
  withdrawn_.drop_below(page.next);
  if (backlog_.empty()) finish_backlog();
}

// All of it is in memory now, or nothing is left of it.
void Level::finish_backlog() {
  missing_ += backlog_.count();
  drop_unread_counts();
  doomed_ = 0;
  if (backlog_.begin() < backlog_.end()) {
    end_range(backlog_.begin(), backlog_.end(), backlog_.tally());
  }
  withdrawn_.clear();
  if (entries_.end() < backlog_.end()) entries_.skip_to(backlog_.end());
  if (ready_in_memory_ == 0) fresh_ = entries_.end();
  backlog_.clear();
}

std::optional<std::string> Level::restore_returned(LanePage&& page) {
  for (StoredEntry& stored : page.entries) {
    QueueEntry* entry = entries_.find(stored.seq);
    if (entry == nullptr || entry->message) continue;
    if (entry->unacked && !is_wanted(stored.seq)) continue;
    hold(*stored.message);
    entry->message = std::move(stored.message);
  }
  raise_dead();
  drop_wanted();
  const QueueEntry* asked_for = entries_.find(reading_from_);
  if (asked_for == nullptr || asked_for->unacked || asked_for->message) return std::nullopt;
  if (asked_for->dead) {
    // Nobody waits for it: it stays in the store as it is.
    ++missing_;
    std::erase_if(unread_dead_, [this](const auto& letter) { return letter.seq == reading_from_; });
    return std::nullopt;
  }
  return page.damage ? page.damage->detail : "the store does not have it";
}

void Level::want_message(Sequence seq) {
  const QueueEntry* entry = find_unacked(seq);
  if (entry == nullptr || entry->message || damaged_ || is_wanted(seq)) return;
  wanted_.insert(std::upper_bound(wanted_.begin(), wanted_.end(), seq), seq);
}

bool Level::is_wanted(Sequence seq) const {
  return std::binary_search(wanted_.begin(), wanted_.end(), seq);
}

// Those that have it, are gone, or were asked for and are not in the store.
void Level::drop_wanted() {
  std::erase_if(wanted_, [this](Sequence seq) {
    const QueueEntry* entry = find_unacked(seq);
    return entry == nullptr || entry->message || seq == reading_from_;
  });
}

void Level::raise_dead() {
  std::erase_if(unread_dead_, [this](DeadLetter& letter) {
    const QueueEntry* entry = entries_.find(letter.seq);
    if (entry == nullptr) return true;
    if (!entry->message) return false;
    risen_.push_back({letter.seq, entry->message, letter.reason});
    return true;
  });
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
  std::size_t dead = 0;
  std::uint64_t bytes = 0;
  std::uint64_t held = 0;
  for (Sequence seq = entries_.next_unfinished(entries_.begin()); seq < entries_.end();
       seq = entries_.next_unfinished(seq + 1)) {
    const QueueEntry& entry = *entries_.find(seq);
    HARRIER_CHECK(!(entry.dead && entry.unacked));
    HARRIER_CHECK(entry.message || entry.stored);
    HARRIER_CHECK(entry.message || seq < fresh_);
    HARRIER_CHECK(!(seq >= fresh_ && entry.unacked));
    if (entry.message) held += memory_of(*entry.message);
    if (entry.dead) ++dead;
    if (entry.unacked || entry.dead) continue;
    ++ready;
    bytes += entry.body_bytes;
  }
  HARRIER_CHECK(ready == ready_in_memory_);
  HARRIER_CHECK(dead == dead_count_);
  HARRIER_CHECK(returned_.empty() || is_ready(returned_.front()));
  HARRIER_CHECK(bytes == ready_bytes_in_memory_);
  HARRIER_CHECK(backlog_.empty() || backlog_.begin() == entries_.end());
  HARRIER_CHECK(!backlog_.empty() || backlog_.count() == 0);
  return held;
}

}  // namespace harrier
