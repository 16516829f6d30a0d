#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/message.h"
#include "broker/core/message_records.h"
#include "broker/core/queue_settings.h"
#include "storage/store.h"

namespace harrier {

// The keys of one queue that takes messages with the same key only once (x-message-deduplication).
// Knows no messages: the queue tells it what was accepted and what left. What must survive a
// restart goes into the turn's batch, together with what it speaks of (message_records.h).
//
// Up to 220 octets of memory for each key. With a window there are at most cache_size of them; in
// the other scope one for each message of the queue that has a key, on disk or not.
class Deduplication {
 public:
  // The message a key came with.
  struct Holder {
    Sequence id = 0;         // as Level::id_of() made it; 0: it is gone
    Sequence stored_id = 0;  // where a restart finds it
    std::uint32_t body_bytes = 0;
    bool persistent = false;
    bool recorded = false;  // survives a restart
    Timestamp expires_at = kNoTime;
  };

  // `queue`: the lane of priority 0, where the queue is durable: its keys are recorded under it.
  Deduplication(DeduplicationSettings settings, StoreBatch& batch, std::optional<LaneId> queue)
      : settings_(std::move(settings)),
        fingerprint_(fingerprint_of(settings_)),
        batch_(batch),
        queue_(queue) {}

  const DeduplicationSettings& settings() const { return settings_; }

  // Of the settings that say what a key means; records carry it.
  std::uint32_t fingerprint() const { return fingerprint_; }

  // Where keys come from something else now, live otherwise or mean something else, all of them are
  // forgotten.
  void apply(const DeduplicationSettings& settings, Timestamp now);

  // The key of `message`, nothing if it has none. A header counts if it is a scalar; its type is
  // part of the key. O(octets).
  std::optional<DeduplicationKey> key_of(const Message& message) const;

  // The same, for a message that comes; last_key() is this again.
  const std::optional<DeduplicationKey>& read_key(const Message& message) {
    return last_key_ = key_of(message);
  }

  const std::optional<DeduplicationKey>& last_key() const { return last_key_; }

  // The message in the way of another with that key, null when there is none. Until the next call.
  const Holder* find(const DeduplicationKey& key, Timestamp now);

  // A message with that key is accepted, maybe in place of another.
  void remember(const DeduplicationKey& key, const Holder& holder, Timestamp now);

  // The message called `from` goes on as `holder`, in the same batch: it was returned, or is due.
  // Its key is as old as before. Another message that came with it meanwhile keeps it.
  void carry(const DeduplicationKey& key, Sequence from, const Holder& holder, Timestamp now);

  // Room for the key of a message of a transaction, which will come: others are duplicates of it.
  // False where another will come.
  [[nodiscard]] bool reserve(const DeduplicationKey& key) { return reserved_.insert(key).second; }

  // Such a message comes, or will not. False if nothing was kept for it.
  bool release(const DeduplicationKey& key);

  bool is_reserved(const DeduplicationKey& key) const { return reserved_.contains(key); }

  // Messages left the queue for good: the one called `id`, or all up to `end`.
  void left(Sequence id) { left(id, id + 1); }

  void left(Sequence begin, Sequence end) {
    if (knows_messages()) end_range(begin, end);
  }

  // The queue is gone, or takes every message from now on.
  void forget_all();

  // Start-up only, before recovered(). Drops one that was recorded under other settings.
  void recover(const KeyRecord& record);
  // Start-up only: of the messages called `begin` to `end` those from `first` on, up to `next`,
  // may be there. A crash may leave more keys than that.
  void recovered(Sequence begin, Sequence end, Sequence first, Sequence next);

  std::size_t size() const { return holders_.size(); }

  // Messages that were not taken, or were replaced, since the start.
  std::uint64_t duplicates() const { return duplicates_; }

  void count_duplicate() { ++duplicates_; }

 private:
  struct Kept {
    Holder holder;
    Timestamp since;
  };

  struct Hash {
    std::size_t operator()(const DeduplicationKey& key) const noexcept {
      std::size_t hash = 0;
      std::memcpy(&hash, key.data(), sizeof(hash));
      return hash;
    }
  };

  // The age of a key, then its message; without a window nobody asks.
  using Order = std::tuple<std::int64_t, Sequence, DeduplicationKey>;

  bool ends_with_message() const { return settings_.scope == DeduplicationScope::in_queue; }

  // Whether anybody asks where the message of a key is.
  bool knows_messages() const {
    return ends_with_message() || settings_.action == DeduplicationAction::replace;
  }

  Order order_of(const DeduplicationKey& key, const Kept& kept) const;
  void add(const DeduplicationKey& key, const Kept& kept);
  void forget(std::set<Order>::iterator place);
  // Messages are gone: so are their keys, or only the way to them.
  void end_range(Sequence begin, Sequence end);
  void record(const DeduplicationKey& key, const Kept& kept);
  static std::uint32_t fingerprint_of(const DeduplicationSettings& settings);
  // The window: what is too old, or more than it may hold.
  void trim(Timestamp now);

  DeduplicationSettings settings_;
  std::uint32_t fingerprint_;
  StoreBatch& batch_;
  const std::optional<LaneId> queue_;
  std::unordered_map<DeduplicationKey, Kept, Hash> holders_;
  std::set<Order> order_;
  std::map<Sequence, DeduplicationKey> of_message_;  // where anybody asks, those that are there
  std::unordered_set<DeduplicationKey, Hash> reserved_;
  std::optional<DeduplicationKey> last_key_;
  std::uint64_t duplicates_ = 0;
};

}  // namespace harrier
