#include "broker/core/queue_parts/delayed.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "broker/core/exchanges/stable_hash.h"
#include "protocol/delay_headers.h"
#include "protocol/properties.h"

namespace harrier {

std::string cancel_key_of(const Message& message) {
  const auto properties = parse_properties(message.properties());
  if (!properties || !properties->headers) return {};
  const auto key = read_delay_headers(*properties->headers, Timestamp{}).cancel_key;
  return std::string(key.value_or(std::string_view()));
}

DelayedMessages::DelayedMessages(LevelShare& share, std::optional<LaneId> lane, std::uint64_t seed)
    : share_(share), lane_(lane), random_(static_cast<std::minstd_rand::result_type>(seed)) {}

void DelayedMessages::recover(const DelayRecord& record) {
  append(record.due, record.seq, record.count);  // recover(lane) makes it a heap
  if (record.cancel_key.empty()) return;
  keys_.emplace(std::pair(stable_hash(record.cancel_key), record.seq),
                Cancellable{record.body_bytes, true});
}

void DelayedMessages::recover(const RecoveredLane& lane) {
  next_seq_ = lane.next_seq;
  tally_ = lane.tally;
  bytes_ = lane.tally.bytes;
  drop_outside(lane);
  count_ = waiting_.size();
  settle_gaps(lane);
  std::make_heap(waiting_.begin(), waiting_.end(), Later{});
}

// A crash may leave records of what was purged.
void DelayedMessages::drop_outside(const RecoveredLane& lane) {
  const auto is_gone = [&](Sequence seq) { return seq < lane.first_seq || seq >= lane.next_seq; };
  std::erase_if(waiting_, [&](const Waiting& one) {
    if (!is_gone(one.seq)) return false;
    share_.batch.delete_record(delay_record_key(*lane_, one.seq));
    return true;
  });
  std::erase_if(keys_, [&](const auto& key) { return is_gone(key.first.second); });
}

// Transient messages did not survive. Were their places left open, the floor of the lane would stop
// there.
void DelayedMessages::settle_gaps(const RecoveredLane& lane) {
  if (waiting_.size() != lane.tally.entries) {
    unreadable_ += lane.tally.entries - std::min<std::size_t>(waiting_.size(), lane.tally.entries);
    return;
  }
  std::sort(waiting_.begin(), waiting_.end(),
            [](const Waiting& a, const Waiting& b) { return a.seq < b.seq; });
  Sequence next = lane.first_seq;
  for (const Waiting& one : waiting_) {
    if (next < one.seq) share_.batch.settle_range(*lane_, next, one.seq, {});
    next = one.seq + 1;
  }
  if (next < lane.next_seq) share_.batch.settle_range(*lane_, next, lane.next_seq, {});
}

void DelayedMessages::drop_lane() {
  if (!lane_) return;
  drop_records();
  share_.batch.drop_lane(*lane_);
}

void DelayedMessages::drop_records() {
  if (!share_.durable || !lane_) return;
  for (const Waiting& one : waiting_)
    share_.batch.delete_record(delay_record_key(*lane_, one.seq));
  for (const Collected& one : collected_)
    share_.batch.delete_record(delay_record_key(*lane_, one.waiting.seq));
}

void DelayedMessages::add(Arrival arrival, Timestamp now) {
  const Sequence seq = next_seq_++;
  const Message& message = *arrival.message;
  const std::string key = cancel_key_of(message);
  ++count_;
  bytes_ += message.body().size();
  if (!key.empty()) {
    keys_.emplace(
        std::pair(stable_hash(key), seq),
        Cancellable{static_cast<std::uint32_t>(message.body().size()), message.persistent()});
  }
  append(arrival.due, seq, arrival.delivery_count);
  std::push_heap(waiting_.begin(), waiting_.end(), Later{});
  if (!lane_) {
    lane_ = share_.host.take_lane();
    if (lane_) put_held();
  }
  if (lane_) {
    put(seq, arrival, now, key);
  } else {
    held_.emplace(seq, Held{std::move(arrival.message), now, arrival.expires_at});
  }
}

void DelayedMessages::append(Timestamp due, Sequence seq, std::uint32_t count) {
  constexpr Sequence kSeqMask = (Sequence{1} << 56) - 1;
  if (count >= kCountElsewhere) large_counts_[seq] = count;
  waiting_.push_back(
      {due, seq & kSeqMask, static_cast<std::uint8_t>(std::min(count, kCountElsewhere))});
}

void DelayedMessages::put(Sequence seq, const Arrival& arrival, Timestamp now,
                          std::string_view key) {
  const Message& message = *arrival.message;
  tally_ += tally_of(message);
  share_.batch.put(*lane_, seq, arrival.message, now, arrival.expires_at);
  if (!has_record(message)) return;
  DelayRecord record;
  record.due = arrival.due;
  record.count = arrival.delivery_count;
  record.body_bytes = static_cast<std::uint32_t>(message.body().size());
  record.cancel_key = key;
  share_.batch.put_record(delay_record_key(*lane_, seq), delay_record(record));
}

void DelayedMessages::put_held() {
  for (auto& [seq, held] : held_) {
    tally_ += tally_of(*held.message);
    share_.batch.put(*lane_, seq, std::move(held.message), held.since, held.expires_at);
  }
  held_.clear();
}

DelayedMessages::Waiting DelayedMessages::take_first() {
  std::pop_heap(waiting_.begin(), waiting_.end(), Later{});
  const Waiting first = waiting_.back();
  waiting_.pop_back();
  return first;
}

std::uint32_t DelayedMessages::take_count(const Waiting& waiting) {
  if (waiting.count < kCountElsewhere) return static_cast<std::uint32_t>(waiting.count);
  const auto large = large_counts_.extract(waiting.seq);
  return large.empty() ? kCountElsewhere : large.mapped();
}

std::size_t DelayedMessages::collected_max() const {
  const std::uint64_t each = std::max<std::uint64_t>(count_ == 0 ? 1 : bytes_ / count_, 1);
  return static_cast<std::size_t>(
      std::clamp<std::uint64_t>(kCollectedBytes / each, 1, kCollectedMax));
}

void DelayedMessages::collect(Timestamp now) {
  if (is_collecting()) return;
  const std::size_t most = collected_max();
  while (next_due() <= now && collected_.size() < most) {
    const Waiting first = take_first();
    if (!cancelled_.empty() && cancelled_.erase(first.seq) > 0) continue;
    Collected one{.waiting = first};
    if (auto held = held_.extract(first.seq); !held.empty()) {
      one.message = std::move(held.mapped().message);
      one.expires_at = held.mapped().expires_at;
      one.stored = false;
    }
    collected_.push_back(std::move(one));
  }
  read_collected();
}

// Neighbours in one page.
void DelayedMessages::read_collected() {
  by_seq_.clear();
  for (std::size_t at = 0; at < collected_.size(); ++at)
    by_seq_.emplace_back(Sequence{collected_[at].waiting.seq}, at);
  std::sort(by_seq_.begin(), by_seq_.end());
  Sequence from = 0;
  Sequence end = 0;
  for (const auto& [seq, at] : by_seq_) {
    if (collected_[at].message) continue;
    if (from == end || seq > end + kGapMax) {
      if (from < end) to_ask_.push_back({from, end});
      from = seq;
    }
    end = seq + 1;
  }
  if (from < end) to_ask_.push_back({from, end});
  collected_bytes_ = 0;
  read_on();
}

void DelayedMessages::read_on() {
  for (; !to_ask_.empty() && asked_.size() < kPagesAtOnce; to_ask_.pop_front())
    read(to_ask_.front().from, to_ask_.front().end);
}

// What of it was not read waits again.
void DelayedMessages::give_back(const Asked& range) {
  auto place =
      std::lower_bound(by_seq_.begin(), by_seq_.end(), std::pair(range.from, std::size_t{0}));
  for (; place != by_seq_.end() && place->first < range.end; ++place) {
    Collected& one = collected_[place->second];
    if (one.message || one.gone) continue;
    one.back = true;
    waiting_.push_back(one.waiting);
    std::push_heap(waiting_.begin(), waiting_.end(), Later{});
  }
}

void DelayedMessages::read(Sequence from, Sequence end) {
  asked_.push_back({from, end});
  share_.host.read(share_.queue,
                   {.lane = *lane_, .from = from, .end = end, .bytes_max = kCollectedBytes});
}

DelayedMessages::Collected* DelayedMessages::find_collected(Sequence seq) {
  const auto found =
      std::lower_bound(by_seq_.begin(), by_seq_.end(), std::pair(seq, std::size_t{0}));
  if (found == by_seq_.end() || found->first != seq) return nullptr;
  Collected& one = collected_[found->second];
  return one.back ? nullptr : &one;
}

void DelayedMessages::paged_in(LanePage&& page) {
  HARRIER_CHECK(!asked_.empty());
  const Asked asked = asked_.front();
  asked_.pop_front();
  for (StoredEntry& entry : page.entries) {
    Collected* one = find_collected(entry.seq);
    if (one == nullptr || one->gone) continue;
    collected_bytes_ += entry.message->footprint();
    one->message = std::move(entry.message);
    one->expires_at = entry.expires_at;
  }
  const bool is_enough = collected_bytes_ >= kCollectedBytes;
  if (is_enough) {
    for (const Asked& range : std::exchange(to_ask_, {}))
      give_back(range);
  }
  if (page.next >= asked.end) return read_on();
  if (!page.damage) {
    if (is_enough) return give_back({page.next, asked.end});
    return read(page.next, asked.end);
  }
  for (Sequence seq = page.next; seq < asked.end; ++seq) {
    Collected* one = find_collected(seq);
    if (one == nullptr || one->gone) continue;
    one->gone = true;
    --count_;
    ++unreadable_;
  }
  read_on();
}

std::vector<DelayedMessages::Released> DelayedMessages::take_released() {
  std::vector<Released> released;
  if (!asked_.empty() || !to_ask_.empty()) return released;
  released.reserve(collected_.size());
  for (Collected& one : collected_) {
    if (one.back) continue;
    const std::uint32_t count = take_count(one.waiting);
    if (one.gone) continue;
    --count_;
    if (!one.message) {  // the store does not have it
      ++unreadable_;
      if (share_.keys != nullptr) share_.keys->left(id_of(one.waiting.seq));
      share_.batch.settle(*lane_, one.waiting.seq, {});
      share_.batch.delete_record(delay_record_key(*lane_, one.waiting.seq));
      continue;
    }
    bytes_ -= std::min<std::uint64_t>(bytes_, one.message->body().size());
    if (one.stored) {
      settle(one.waiting.seq, tally_of(*one.message));
    } else if (share_.keys != nullptr) {
      share_.keys->left(id_of(one.waiting.seq));
    }
    if (!keys_.empty()) forget_key(*one.message, one.waiting.seq);
    released.push_back({std::move(one.message), one.expires_at, count});
  }
  collected_.clear();
  by_seq_.clear();
  return released;
}

void DelayedMessages::settle(Sequence seq, Tally was) {
  tally_ -= was;
  share_.batch.settle(*lane_, seq, was);
  if (share_.durable && was.entries > 0) share_.batch.delete_record(delay_record_key(*lane_, seq));
  if (share_.keys != nullptr) share_.keys->left(id_of(seq));
}

void DelayedMessages::forget_key(const Message& message, Sequence seq) {
  const std::string key = cancel_key_of(message);
  if (key.empty()) return;
  keys_.erase(std::pair(stable_hash(key), seq));
}

std::size_t DelayedMessages::cancel(std::string_view key) {
  const std::uint64_t hash = stable_hash(key);
  const auto begin = keys_.lower_bound(std::pair(hash, Sequence{0}));
  auto end = begin;
  std::size_t dropped = 0;
  for (; end != keys_.end() && end->first.first == hash; ++end, ++dropped)
    drop(end->first.second, end->second);
  keys_.erase(begin, end);
  if (cancelled_.size() > 64 && cancelled_.size() > waiting_.size() / 2) {
    std::erase_if(waiting_, [this](const Waiting& one) { return cancelled_.contains(one.seq); });
    std::make_heap(waiting_.begin(), waiting_.end(), Later{});
    cancelled_.clear();
  }
  return dropped;
}

void DelayedMessages::drop(Sequence seq, const Cancellable& one) {
  --count_;
  bytes_ -= std::min<std::uint64_t>(bytes_, one.body_bytes);
  bool stored = held_.erase(seq) == 0;
  if (Collected* collected = find_collected(seq)) {
    collected->gone = true;
    collected->message = {};
    stored = collected->stored;
  } else {
    large_counts_.erase(seq);
    cancelled_.insert(seq);
  }
  if (stored) {
    settle(seq, one.persistent ? Tally{1, one.body_bytes} : Tally{});
  } else if (share_.keys != nullptr) {
    share_.keys->left(id_of(seq));
  }
}

std::size_t DelayedMessages::purge() {
  const std::size_t purged = count_ + returning_.size();
  for (auto& [id, due] : returning_)
    due = kNoTime;
  drop_records();
  if (lane_ && next_seq_ > 1) share_.batch.settle_range(*lane_, 1, next_seq_, tally_);
  if (share_.keys != nullptr) share_.keys->left(id_of(0), id_of(next_seq_));
  clear();
  return purged;
}

void DelayedMessages::clear() {
  waiting_.clear();
  large_counts_.clear();
  held_.clear();
  collected_.clear();
  by_seq_.clear();
  to_ask_.clear();
  keys_.clear();
  cancelled_.clear();
  count_ = 0;
  bytes_ = 0;
  tally_ = {};
}

void DelayedMessages::make_all_due() {
  std::sort(waiting_.begin(), waiting_.end(),
            [](const Waiting& a, const Waiting& b) { return Later{}(b, a); });
  std::int64_t order = 0;
  for (Waiting& one : waiting_)
    one.due = Timestamp(Milliseconds(++order));  // long past; sorted it is a heap
}

std::optional<Timestamp> DelayedMessages::take_return(Sequence id) {
  const auto found = returning_.extract(id);
  if (found.empty()) return std::nullopt;
  return found.mapped();
}

}  // namespace harrier
