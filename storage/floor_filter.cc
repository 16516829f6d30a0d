#include "storage/floor_filter.h"

#include <algorithm>
#include <atomic>
#include <string>

#include <rocksdb/compaction_filter.h>

#include "storage/block.h"

namespace harrier {

namespace {

using rocksdb::CompactionFilter;
using rocksdb::Slice;

// Works for one flush or compaction, on one thread.
class Filter final : public CompactionFilter {
 public:
  explicit Filter(std::shared_ptr<const FloorTable> table) : table_(std::move(table)) {}

  const char* Name() const override { return "harrier.FloorFilter"; }

  // kRemoveAndSkipUntil, never kRemove: that one would leave a tombstone above the last level.
  Decision FilterV2(int /*level*/, const Slice& key, ValueType type, const Slice& value,
                    std::string* /*new_value*/, std::string* skip_until) const override {
    if (type != ValueType::kValue) return Decision::kKeep;
    const auto block = decode_block_key({key.data(), key.size()});
    const auto header = read_block_header({value.data(), value.size()});
    if (!block || !header) return Decision::kKeep;  // recovery will complain, not we
    const FloorTable::Decision decision = table_->decide(*block, header->first_seq);
    if (decision.keep) return Decision::kKeep;
    skip_until->assign(encode(decision.skip_until).view());
    return Decision::kRemoveAndSkipUntil;
  }

 private:
  std::shared_ptr<const FloorTable> table_;
};

}  // namespace

FloorTable::FloorTable(const LaneStates& lanes) {
  lanes_.reserve(lanes.all().size() + lanes.dropped().size());
  for (const auto& [id, lane] : lanes.all()) {
    lanes_.push_back({.id = id, .dropped = false, .ranges_end = 0, .floor = lane.settled.floor()});
  }
  for (const auto& [id, epoch] : lanes.dropped()) {
    lanes_.push_back({.id = id, .dropped = true, .ranges_end = 0, .floor = 0});
  }
  std::sort(lanes_.begin(), lanes_.end(), [](const Lane& a, const Lane& b) { return a.id < b.id; });
  for (Lane& lane : lanes_) {
    if (!lane.dropped) {
      const auto ranges = lanes.all().at(lane.id).settled.ranges();
      ranges_.insert(ranges_.end(), ranges.begin(), ranges.end());
    }
    lane.ranges_end = static_cast<std::uint32_t>(ranges_.size());
  }
}

FloorTable::Decision FloorTable::decide(const BlockKey& key, Sequence first_seq) const {
  auto lane = std::lower_bound(lanes_.begin(), lanes_.end(), key.lane,
                               [](const Lane& entry, LaneId id) { return entry.id < id; });
  if (lane == lanes_.end() || lane->id != key.lane) return {.keep = true};
  const auto skip_to = [&](Sequence seq) {
    return Decision{.keep = false, .skip_until = {key.epoch, key.lane, seq}};
  };
  // To the end of the lane, which is the highest sequence there can be in a key of it.
  if (lane->dropped) return skip_to(UINT64_MAX);
  if (key.last_seq < lane->floor) return skip_to(lane->floor);
  const auto begin =
      ranges_.begin() +
      (lane == lanes_.begin() ? 0 : static_cast<std::ptrdiff_t>(std::prev(lane)->ranges_end));
  const auto end = ranges_.begin() + static_cast<std::ptrdiff_t>(lane->ranges_end);
  auto after = std::upper_bound(begin, end, first_seq,
                                [](Sequence seq, const SequenceRange& r) { return seq < r.begin; });
  if (after == begin || std::prev(after)->end <= key.last_seq) return {.keep = true};
  return skip_to(std::prev(after)->end);
}

class FloorFilter::Factory final : public rocksdb::CompactionFilterFactory {
 public:
  const char* Name() const override { return "harrier.FloorFilterFactory"; }

  bool ShouldFilterTableFileCreation(rocksdb::TableFileCreationReason reason) const override {
    return reason == rocksdb::TableFileCreationReason::kFlush ||
           reason == rocksdb::TableFileCreationReason::kCompaction;
  }

  std::unique_ptr<CompactionFilter> CreateCompactionFilter(
      const CompactionFilter::Context& /*context*/) override {
    std::shared_ptr<const FloorTable> table = std::atomic_load(&table_);
    if (table == nullptr) return nullptr;
    return std::make_unique<Filter>(std::move(table));
  }

  void publish(std::shared_ptr<const FloorTable> table) {
    std::atomic_store(&table_, std::move(table));
  }

 private:
  // Atomic: stored by the committer in publish(), loaded by RocksDB's flush and compaction threads.
  std::shared_ptr<const FloorTable> table_;
};

FloorFilter::FloorFilter() : factory_(std::make_shared<Factory>()) {}

FloorFilter::~FloorFilter() = default;

std::shared_ptr<rocksdb::CompactionFilterFactory> FloorFilter::factory() const {
  return factory_;
}

void FloorFilter::publish(std::shared_ptr<const FloorTable> table) {
  factory_->publish(std::move(table));
}

}  // namespace harrier
