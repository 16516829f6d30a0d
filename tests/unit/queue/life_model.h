#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "base/clock.h"
#include "broker/core/consumer.h"
#include "broker/core/death.h"
#include "broker/core/queue_parts/level.h"
#include "broker/core/queue_settings.h"

namespace harrier::test {

// How a message has left the queue. A feature that adds another end adds a row here, and what it
// makes wait is one more map of the model, in in_queue().
enum class End : std::uint8_t {
  acked,
  rejected,
  expired,
  maxlen,
  delivery_limit,
  purged,
  refused,
  count,
};

inline End end_of(DeathReason reason) {
  switch (reason) {
    case DeathReason::rejected:
      return End::rejected;
    case DeathReason::expired:
      return End::expired;
    case DeathReason::maxlen:
      return End::maxlen;
    case DeathReason::delivery_limit:
      return End::delivery_limit;
    case DeathReason::due:  // of delay queues alone
      break;
  }
  std::abort();
}

// What a queue has to do, message by message; each has a number, which its body begins with.
//
// Exact, where all is in memory: deaths are foretold, and what the queue does must be the same.
// Otherwise what is on disk dies when it is read, and the letters of the queue tell; each must be
// one that could die so.
class LifeModel {
 public:
  struct Life {
    unsigned number = 0;
    unsigned arrival = 0;  // in which order they came
    std::uint8_t level = 0;
    bool persistent = false;
    bool redelivered = false;
    std::uint32_t bytes = 0;
    std::uint32_t count = 0;
    Timestamp born_at{};
    Timestamp expires_at = kNoTime;
    int holder = -1;  // while unacked: the consumer, -1 after a basic.get

    bool is_overdue(Timestamp now) const { return expires_at != kNoTime && expires_at <= now; }
  };

  using Place = std::pair<int, unsigned>;  // -level, arrival: the order of delivery
  using Death = std::pair<unsigned, DeathReason>;

  explicit LifeModel(bool is_exact) : exact(is_exact) {}

  static unsigned number_of(const Message& message) {
    return static_cast<unsigned>(std::strtoul(std::string(message.body()).c_str(), nullptr, 10));
  }

  static Place place_of(const Life& life) { return {-int{life.level}, life.arrival}; }

  const bool exact;
  QueueSettings settings;
  std::map<Place, Life> ready;
  std::map<Sequence, Life> unacked;
  std::map<unsigned, std::pair<Life, DeathReason>> dying;  // their letters come later
  std::map<unsigned, bool> unburied;                       // number, persistent
  std::map<unsigned, Life> purged;  // of late: some may have been dead, their letters come later
  std::set<unsigned> doomed;        // were passed over, which only the dead may be
  std::set<Death> foretold;
  std::set<Death> seen;
  std::array<std::uint64_t, static_cast<std::size_t>(End::count)> ends{};
  std::uint64_t published = 0;
  std::size_t reserved_count = 0;
  std::uint64_t reserved_bytes = 0;

  std::uint64_t in_queue() const { return ready.size() + unacked.size() + dying.size(); }

  std::uint64_t ended() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t one : ends)
      sum += one;
    return sum;
  }

  std::uint64_t ready_bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& [place, life] : ready)
      bytes += life.bytes;
    return bytes;
  }

  bool is_limited() const { return settings.max_length || settings.max_length_bytes; }

  bool may_refuse() const { return is_limited() && settings.overflow != Overflow::drop_head; }

  bool has_room(std::size_t in_ready, std::uint64_t bytes_in_ready, std::size_t count,
                std::uint64_t bytes) const {
    if (settings.max_length && in_ready + reserved_count + count > *settings.max_length) {
      return false;
    }
    return !settings.max_length_bytes ||
           bytes_in_ready + reserved_bytes + bytes <= *settings.max_length_bytes;
  }

  void end(End how) { ++ends[static_cast<std::size_t>(how)]; }

  // A new message is ready.
  void add(Life life) {
    life.arrival = ++arrivals_;
    ready.emplace(place_of(life), life);
  }

  void refuse(unsigned number) {
    end(End::refused);
    if (settings.overflow == Overflow::reject_publish_dlx && settings.dead_letter_exchange) {
      foretold.emplace(number, DeathReason::maxlen);
    }
  }

  // Only where exact.
  void expire(Timestamp now) {
    if (!exact) return;
    for (auto at = ready.begin(); at != ready.end();) {
      if (at->second.is_overdue(now)) {
        foretell(at->second, DeathReason::expired);
        at = ready.erase(at);
      } else {
        ++at;
      }
    }
  }

  // Only where exact.
  void drop_surplus() {
    if (!exact || settings.overflow != Overflow::drop_head) return;
    while ((settings.max_length && ready.size() > *settings.max_length) ||
           (settings.max_length_bytes && ready_bytes() > *settings.max_length_bytes)) {
      foretell(ready.begin()->second, DeathReason::maxlen);
      ready.erase(ready.begin());
    }
  }

  void taken(const Delivery& delivery, int holder, bool no_ack, Timestamp now) {
    const unsigned number = number_of(*delivery.message);
    auto at = ready.begin();
    for (; at != ready.end() && at->second.number != number; ++at) {
      REQUIRE_FALSE(exact);
      if (!at->second.is_overdue(now)) doomed.insert(at->second.number);
    }
    REQUIRE(at != ready.end());
    doomed.erase(number);
    Life life = at->second;
    ready.erase(at);
    REQUIRE((!life.is_overdue(now) || life.born_at == now));
    REQUIRE(delivery.redelivered == life.redelivered);
    REQUIRE(delivery.delivery_count == life.count);
    REQUIRE(delivery.message->body().size() == life.bytes);
    REQUIRE(Level::number_in(delivery.seq) == life.level);
    if (no_ack) return end(End::acked);
    if (settings.counts_deliveries() &&
        settings.delivery_count_mode == DeliveryCountMode::acquired) {
      ++life.count;
    }
    life.holder = holder;
    REQUIRE(unacked.emplace(delivery.seq, life).second);
  }

  void settled(Sequence id, Settlement how, Timestamp now) {
    const auto found = unacked.find(id);
    if (found == unacked.end()) return;
    Life life = found->second;
    unacked.erase(found);
    if (how == Settlement::ack) return end(End::acked);
    if (how == Settlement::discard) return foretell(life, DeathReason::rejected);
    if (settings.counts_deliveries()) {
      if (counts(how)) {
        ++life.count;
      } else if (how == Settlement::unseen && life.count > 0 &&
                 settings.delivery_count_mode == DeliveryCountMode::acquired) {
        --life.count;
      }
      if (settings.delivery_limit && life.count > *settings.delivery_limit) {
        return foretell(life, DeathReason::delivery_limit);
      }
    }
    if (life.is_overdue(now)) return foretell(life, DeathReason::expired);
    life.redelivered = true;
    ready.emplace(place_of(life), life);
  }

  // The queue gave away a dead message that has a place in it.
  void letter(unsigned number, DeathReason reason, Timestamp now) {
    CAPTURE(number);
    CAPTURE(death_reason_name(reason));
    if (exact) {
      REQUIRE(seen.emplace(number, reason).second);
      return;
    }
    if (const auto known = dying.find(number); known != dying.end()) {
      REQUIRE(known->second.second == reason);
      end(end_of(reason));
      unburied[number] = known->second.first.persistent;
      dying.erase(known);
      return;
    }
    if (const auto late = purged.find(number); late != purged.end()) {
      --ends[static_cast<std::size_t>(End::purged)];
      end(end_of(reason));
      unburied[number] = late->second.persistent;
      purged.erase(late);
      return;
    }
    const auto at = std::find_if(ready.begin(), ready.end(),
                                 [&](const auto& one) { return one.second.number == number; });
    REQUIRE(at != ready.end());
    const bool is_overdue = at->second.is_overdue(now);
    REQUIRE((reason == DeathReason::maxlen || (reason == DeathReason::expired && is_overdue)));
    end(end_of(reason));
    unburied[number] = at->second.persistent;
    doomed.erase(number);
    ready.erase(at);
  }

  void purge(std::size_t count) {
    REQUIRE((count == ready.size() || (!exact && count < ready.size())));
    for (const auto& [place, life] : ready) {
      end(End::purged);
      if (!exact) purged.emplace(life.number, life);
    }
    ready.clear();
    doomed.clear();
  }

  // Numbers of the persistent messages that a durable queue still has.
  std::set<unsigned> persistent() const {
    std::set<unsigned> numbers;
    const auto add_one = [&numbers](const Life& life) {
      if (life.persistent) numbers.insert(life.number);
    };
    for (const auto& [place, life] : ready)
      add_one(life);
    for (const auto& [id, life] : unacked)
      add_one(life);
    for (const auto& [number, death] : dying)
      add_one(death.first);
    for (const auto& [number, is_persistent] : unburied) {
      if (is_persistent) numbers.insert(number);
    }
    return numbers;
  }

 private:
  bool counts(Settlement how) const {
    switch (settings.delivery_count_mode) {
      case DeliveryCountMode::returned:
        return how != Settlement::unseen;
      case DeliveryCountMode::failed:
        return how == Settlement::failed || how == Settlement::lost;
      case DeliveryCountMode::acquired:
        return false;
    }
    return false;
  }

  void foretell(const Life& life, DeathReason reason) {
    if (!exact) {
      REQUIRE(dying.emplace(life.number, std::pair(life, reason)).second);
      return;
    }
    end(end_of(reason));
    if (!settings.dead_letter_exchange) return;
    foretold.emplace(life.number, reason);
    unburied[life.number] = life.persistent;
  }

  unsigned arrivals_ = 0;
};

}  // namespace harrier::test
