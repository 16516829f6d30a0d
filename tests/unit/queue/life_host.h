#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "broker/core/consumer.h"
#include "broker/core/message_records.h"
#include "broker/core/queue.h"
#include "broker/core/queue_host.h"
#include "storage/store.h"

namespace harrier::test {

// A shard for a queue with several lanes and its records, on a clock that the test moves.
class LifeHost final : public QueueHost {
 public:
  explicit LifeHost(std::uint64_t budget) : memory_(budget) {}

  Timestamp now() const override { return time; }

  void wake_at(Queue&, Timestamp at) override { wake_ups_.insert(at); }

  void delete_unused(Queue&) override { FAIL("nothing expires"); }

  void dead_letter(Queue&, DeadLetter letter) override { on_letter(letter); }

  StoreBatch& batch() override { return batch_; }

  MessageMemory& memory() override { return memory_; }

  std::optional<LaneId> take_lane() override { return LaneId{next_lane_++}; }

  void read(Queue&, const PageRequest& request) override { reads_.push_back(request); }

  void later(Task task) override { tasks_.push_back(std::move(task)); }

  std::optional<Timestamp> take_wake_up(Timestamp until) {
    if (wake_ups_.empty() || *wake_ups_.begin() > until) return std::nullopt;
    const Timestamp at = *wake_ups_.begin();
    wake_ups_.erase(wake_ups_.begin());
    return at;
  }

  // Ends turns until nothing is asked for any more.
  void turns(Queue& queue) {
    do {
      commit();
      for (const PageRequest& request : std::exchange(reads_, {}))
        queue.paged_in(request.lane, page(request));
      for (Task& task : std::exchange(tasks_, {}))
        task();
    } while (!reads_.empty() || !tasks_.empty());
    commit();
  }

  std::vector<CountRecord> count_records() const {
    std::vector<CountRecord> found;
    for (const auto& [key, value] : records_) {
      if (const auto count = decode_count_record(key, value)) found.push_back(*count);
    }
    return found;
  }

  using Place = std::pair<std::uint32_t, Sequence>;  // lane, sequence

  Timestamp time{Milliseconds(1000)};
  std::function<void(const DeadLetter&)> on_letter;
  std::map<Place, StoredEntry> stored;

 private:
  void commit() {
    using Kind = StoreBatch::Operation::Kind;
    for (const StoreBatch::Operation& operation : batch_.operations()) {
      const Place place{operation.lane.value, operation.seq};
      if (operation.kind == Kind::put) {
        StoredEntry entry{.lane = operation.lane,
                          .seq = operation.seq,
                          .message = operation.message,
                          .enqueued_at = operation.enqueued_at,
                          .expires_at = operation.expires_at};
        REQUIRE(stored.emplace(place, std::move(entry)).second);
      } else if (operation.kind == Kind::settle || operation.kind == Kind::settle_range) {
        const auto begin = stored.lower_bound(place);
        const auto end = stored.lower_bound({operation.lane.value, operation.end});
        Tally gone;
        for (auto entry = begin; entry != end; ++entry)
          gone += tally_of(*entry->second.message);
        REQUIRE(gone == operation.tally);
        stored.erase(begin, end);
      } else if (operation.kind == Kind::put_record) {
        const StoreBatch::Record& record = batch_.records()[operation.record];
        records_[record.key] = record.value;
      } else if (operation.kind == Kind::delete_record) {
        REQUIRE(records_.erase(batch_.records()[operation.record].key) == 1);
      }
    }
    batch_.clear();
  }

  LanePage page(const PageRequest& request) const {
    LanePage page;
    page.next = request.end;
    std::size_t bytes = 0;
    const auto end = stored.lower_bound({request.lane.value, request.end});
    for (auto entry = stored.lower_bound({request.lane.value, request.from}); entry != end;
         ++entry) {
      if (bytes >= request.bytes_max) {
        page.next = entry->first.second;
        break;
      }
      bytes += entry->second.message->footprint();
      page.entries.push_back(entry->second);
    }
    return page;
  }

  StoreBatch batch_;
  MessageMemory memory_;
  std::uint32_t next_lane_ = 1000;
  std::set<Timestamp> wake_ups_;
  std::vector<PageRequest> reads_;
  std::vector<Task> tasks_;
  std::map<std::string, std::string> records_;
};

// A consumer of such a queue, which knows what it has.
class LifeConsumer final : public Consumer {
 public:
  bool can_take() const override { return open; }

  void deliver(Delivery&& delivery) override { on_deliver(delivery); }

  void cancelled() override {}

  bool open = true;
  std::function<void(const Delivery&)> on_deliver;
  ConsumerOptions options;
  QueueConsumer* record = nullptr;  // null when cancelled
  std::size_t unacked = 0;

  bool able() const {
    return record != nullptr && open && (options.prefetch == 0 || unacked < options.prefetch);
  }
};

}  // namespace harrier::test
