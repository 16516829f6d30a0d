#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/clock.h"
#include "broker/core/death.h"
#include "broker/core/queue.h"
#include "broker/core/queue_host.h"
#include "protocol/reply_code.h"
#include "storage/store.h"

namespace harrier::test {

using Bodies = std::vector<std::string>;
using Sequences = std::vector<Sequence>;

inline MessageRef transient(std::string_view body) {
  return Message::create(MessageParts{}, body);
}

inline MessageRef persistent(std::string_view body) {
  MessageParts parts;
  parts.persistent = true;
  return Message::create(parts, body);
}

// A client's end of a consumer: takes deliveries while `open` and keeps them.
class FakeConsumer final : public Consumer {
 public:
  bool can_take() const override { return open; }

  void deliver(Delivery&& delivery) override {
    if (on_deliver) on_deliver(delivery);
    deliveries.push_back(std::move(delivery));
  }

  void cancelled() override { ++cancels; }

  Bodies bodies() const {
    Bodies all;
    for (const Delivery& delivery : deliveries)
      all.emplace_back(delivery.message->body());
    return all;
  }

  Sequence last_seq() const { return deliveries.back().seq; }

  bool open = true;
  int cancels = 0;
  std::vector<Delivery> deliveries;
  std::function<void(const Delivery&)> on_deliver;
};

inline QueueDefinition transient_queue() {
  QueueDefinition made;
  made.name = "q";
  made.vhost = "/";
  made.id = QueueId{7};
  return made;
}

// Where the queues of these tests keep their delayed messages.
inline constexpr LaneId kDelayLane{1000};
inline constexpr LaneId kRetryLane{1001};

inline QueueDefinition durable_queue() {
  QueueDefinition made = transient_queue();
  made.durable = true;
  made.lane = LaneId{9};
  made.delay_lane = kDelayLane;
  return made;
}

// A shard with the simplest of stores. What the queue records stays in batch() until commit().
class FakeHost final : public QueueHost {
 public:
  explicit FakeHost(std::uint64_t budget) : memory_(budget) {}

  Timestamp now() const override { return time; }

  void wake_at(Queue&, Timestamp at) override { wake_ups.push_back(at); }

  void delete_unused(Queue&) override { ++deletions; }

  void dead_letter(Queue&, DeadLetter letter) override { dead.push_back(std::move(letter)); }

  StoreBatch& batch() override { return batch_; }

  MessageMemory& memory() override { return memory_; }

  std::optional<LaneId> take_lane() override { return spare_lane; }

  void read(Queue&, const PageRequest& request) override { reads.push_back(request); }

  void later(Task task) override { tasks.push_back(std::move(task)); }

  // Empties the batch into `stored`.
  void commit() {
    using Kind = StoreBatch::Operation::Kind;
    for (const StoreBatch::Operation& operation : batch_.operations()) {
      auto& lane = entries_of(operation.lane);
      if (operation.kind == Kind::put) {
        REQUIRE(!lane.contains(operation.seq));
        lane[operation.seq] = {.lane = operation.lane,
                               .seq = operation.seq,
                               .message = operation.message,
                               .enqueued_at = operation.enqueued_at,
                               .expires_at = operation.expires_at};
      } else if (operation.kind == Kind::settle || operation.kind == Kind::settle_range) {
        const auto begin = lane.lower_bound(operation.seq);
        const auto end = lane.lower_bound(operation.end);
        Tally gone;
        for (auto entry = begin; entry != end; ++entry)
          gone += tally_of(*entry->second.message);
        REQUIRE(gone == operation.tally);
        lane.erase(begin, end);
      } else if (operation.kind == Kind::put_record) {
        const auto& [key, value] = batch_.records()[operation.record];
        records[key] = value;
      } else if (operation.kind == Kind::delete_record) {
        records.erase(batch_.records()[operation.record].key);
      }
    }
    batch_.clear();
  }

  LanePage page(const PageRequest& request) const {
    LanePage page;
    page.next = request.end;
    std::size_t bytes = 0;
    const auto& lane = entries_of(request.lane);
    const auto end = lane.lower_bound(request.end);
    for (auto entry = lane.lower_bound(request.from); entry != end; ++entry) {
      if (bytes >= request.bytes_max) {
        page.next = entry->first;
        break;
      }
      bytes += entry->second.message->footprint();
      page.entries.push_back(entry->second);
    }
    return page;
  }

  const std::map<Sequence, StoredEntry>& entries_of(LaneId lane) const {
    if (lane == kDelayLane) return delayed;
    return lane == kRetryLane ? retried : stored;
  }

  std::map<Sequence, StoredEntry>& entries_of(LaneId lane) {
    if (lane == kDelayLane) return delayed;
    return lane == kRetryLane ? retried : stored;
  }

  Timestamp time{Milliseconds(1000)};
  std::vector<Timestamp> wake_ups;
  int deletions = 0;
  std::vector<DeadLetter> dead;  // not buried
  std::map<Sequence, StoredEntry> stored;
  std::map<Sequence, StoredEntry> delayed;  // in kDelayLane
  std::map<Sequence, StoredEntry> retried;  // in kRetryLane
  std::map<std::string, std::string> records;
  std::optional<LaneId> spare_lane;
  std::vector<PageRequest> reads;
  std::vector<Task> tasks;

 private:
  StoreBatch batch_;
  MessageMemory memory_;
};

// One queue with the batch its shard would fill.
struct QueueBench {
  static constexpr std::uint64_t kPlenty = std::uint64_t{1} << 30;

  explicit QueueBench(QueueDefinition definition = transient_queue(),
                      std::uint64_t memory_budget = kPlenty)
      : kept(new QueueHandle(std::move(definition))), host(memory_budget) {
    handle.attach(&queue);
  }

  ~QueueBench() { queue.check_invariants(); }

  // Ends the turn: commits, answers what was asked for.
  void turn() {
    host.commit();
    for (const PageRequest& request : std::exchange(host.reads, {}))
      queue.paged_in(request.lane, host.page(request));
    for (Task& task : std::exchange(host.tasks, {}))
      task();
  }

  // Until nothing is asked for any more.
  void turns() {
    do {
      turn();
    } while (!host.reads.empty() || !host.tasks.empty());
  }

  // Lets time pass, with the wake-ups that were asked for.
  void pass(Milliseconds time) {
    const Timestamp until = now + time;
    for (;;) {
      const auto next = std::min_element(host.wake_ups.begin(), host.wake_ups.end());
      if (next == host.wake_ups.end() || *next > until) break;
      now = std::max(now, *next);
      host.wake_ups.erase(next);
      queue.tick(now);
      turns();
    }
    now = until;
  }

  // Bodies and reasons of what died since this was last asked.
  Bodies bury() {
    Bodies buried;
    for (const DeadLetter& letter : std::exchange(host.dead, {})) {
      buried.push_back(std::string(letter.message->body()) + " " +
                       std::string(death_reason_name(letter.reason)));
      queue.buried(letter.seq);
    }
    return buried;
  }

  // basic.get; ends turns only if the message has to be read first.
  std::optional<Got> get(bool no_ack) {
    std::optional<Got> taken;
    bool answered = false;
    queue.get(no_ack, [&](GetResult got) {
      REQUIRE(got);
      taken = std::move(*got);
      answered = true;
    });
    if (!answered) turns();
    REQUIRE(answered);
    return taken;
  }

  // The store has these, and the queue goes on at `next_seq`.
  void recover(const std::vector<StoredEntry>& entries, Sequence next_seq) {
    RecoveredLane lane;
    lane.lane = handle.definition().lane;
    lane.first_seq = entries.empty() ? next_seq : entries.front().seq;
    lane.next_seq = next_seq;
    for (const StoredEntry& entry : entries) {
      lane.tally += tally_of(*entry.message);
      host.stored[entry.seq] = entry;
    }
    queue.recover(lane);
  }

  // One transient message per body.
  void publish(const Bodies& bodies) {
    for (const std::string& body : bodies)
      queue.enqueue(transient(body), now);
  }

  QueueConsumer& consume(FakeConsumer& port, ConsumerOptions options = {}) {
    const auto added = queue.consume(port, std::move(options));
    REQUIRE(added);
    queue.pump();
    return **added;
  }

  void settle(const Sequences& sequences, Settlement how) {
    for (const Sequence seq : sequences)
      queue.settle(seq, how);
    queue.pump();
  }

  // Bodies by basic.get, unacknowledged, until the queue is empty.
  Bodies get_all() {
    Bodies bodies;
    while (auto got = get(false))
      bodies.emplace_back(got->delivery.message->body());
    return bodies;
  }

  QueueRef kept;
  QueueHandle& handle = *kept;
  FakeHost host;
  StoreBatch& batch = host.batch();
  Queue queue{handle, host};
  Timestamp& now = host.time;
};

inline ConsumerOptions with_prefetch(std::uint32_t prefetch) {
  ConsumerOptions options;
  options.prefetch = prefetch;
  return options;
}

inline ConsumerOptions with_priority(std::int32_t priority, std::uint32_t prefetch = 0) {
  ConsumerOptions options = with_prefetch(prefetch);
  options.priority = priority;
  return options;
}

inline ConsumerOptions no_ack() {
  ConsumerOptions options;
  options.no_ack = true;
  return options;
}

inline ConsumerOptions exclusive() {
  ConsumerOptions options;
  options.exclusive = true;
  return options;
}

// Where a random test starts; printed, and set by HARRIER_SEED to run it again.
inline unsigned random_seed() {
  const char* wanted = std::getenv("HARRIER_SEED");
  const unsigned seed = wanted == nullptr
                            ? std::random_device()()
                            : static_cast<unsigned>(std::strtoul(wanted, nullptr, 10));
  MESSAGE("HARRIER_SEED=", seed);
  return seed;
}

}  // namespace harrier::test

template <>
struct doctest::StringMaker<harrier::test::Bodies> {
  static String convert(const harrier::test::Bodies& bodies) {
    std::string shown;
    for (const std::string& body : bodies)
      shown += body + " ";
    return shown.c_str();
  }
};

template <>
struct doctest::StringMaker<harrier::test::Sequences> {
  static String convert(const harrier::test::Sequences& sequences) {
    std::string shown;
    for (const harrier::Sequence seq : sequences)
      shown += std::to_string(seq) + " ";
    return shown.c_str();
  }
};
