#include "storage/garbage_collector.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/metadata.h>

#include "base/log.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");

struct EpochRange {
  Epoch first = 0;
  Epoch last = 0;
};

// None for a file that is not ours to judge.
std::optional<EpochRange> epochs_in(const rocksdb::LiveFileMetaData& file) {
  const auto first = decode_leading_epoch(file.smallestkey);
  const auto last = decode_leading_epoch(file.largestkey);
  if (!first || !last) return std::nullopt;
  return EpochRange{*first, *last};
}

bool is_needed(const Census& census, const EpochRange& epochs) {
  const auto at =
      std::lower_bound(census.needed.begin(), census.needed.end(), epochs.first,
                       [](const EpochUse& use, Epoch epoch) { return use.epoch < epoch; });
  return at != census.needed.end() && at->epoch <= epochs.last;
}

std::uint64_t live_bytes(const Census& census, const EpochRange& epochs) {
  std::uint64_t bytes = 0;
  for (const EpochUse& use : census.needed) {
    if (epochs.first <= use.epoch && use.epoch <= epochs.last) bytes += use.live_bytes;
  }
  return bytes;
}

}  // namespace

GarbageCollector::GarbageCollector(const Columns& columns, GarbageLimits limits)
    : columns_(columns), limits_(limits) {}

GarbageCollector::~GarbageCollector() {
  end(Ending::abandon);
}

void GarbageCollector::submit(Census census) {
  {
    const std::lock_guard lock(mutex_);
    if (ending_ != Ending::none) return;
    census_ = std::move(census);
  }
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  arrived_.notify_one();
}

void GarbageCollector::finish() {
  end(Ending::finish);
}

void GarbageCollector::end(Ending how) {
  cancelled_.store(true);
  {
    const std::lock_guard lock(mutex_);
    if (ending_ == Ending::none) ending_ = how;
  }
  arrived_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void GarbageCollector::run() {
  for (;;) {
    Census census;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return census_ || ending_ != Ending::none; });
      if (ending_ == Ending::abandon || !census_) return;
      census = *std::exchange(census_, std::nullopt);
    }
    collect(census);
  }
}

void GarbageCollector::collect(const Census& census) {
  wants_census_.store(false, std::memory_order_relaxed);
  delete_blocks(census);
  delete_acks(census);
  delete_bodies(census);
  if (census.has_live_bytes) compact_sparse_files(census);
}

GarbageCollector::Files GarbageCollector::files_of(rocksdb::ColumnFamilyHandle* column) const {
  Files files;
  columns_.db->GetLiveFilesMetaData(&files);
  std::erase_if(files, [&](const rocksdb::LiveFileMetaData& file) {
    return file.column_family_name != column->GetName();
  });
  return files;
}

void GarbageCollector::delete_blocks(const Census& census) {
  Files files = files_of(columns_.msg);
  Epoch oldest = census.in_memory_from;
  for (const rocksdb::LiveFileMetaData& file : files) {
    if (const auto epochs = epochs_in(file)) oldest = std::min(oldest, epochs->first);
  }
  oldest_epoch_.store(oldest, std::memory_order_relaxed);
  std::erase_if(files, [&](const rocksdb::LiveFileMetaData& file) {
    const auto epochs = epochs_in(file);
    return !epochs || epochs->last >= census.current || is_needed(census, *epochs);
  });
  delete_files(columns_.msg, files);
}

void GarbageCollector::delete_acks(const Census& census) {
  Files files = files_of(columns_.ack);
  std::erase_if(files, [&](const rocksdb::LiveFileMetaData& file) {
    const auto epochs = epochs_in(file);
    return !epochs || epochs->last >= std::min(census.checkpoint, census.current);
  });
  delete_files(columns_.ack, files);
}

// A reader may still find the block of a settled entry: BodyReader::is_collected tells it then that
// this is no damage.
void GarbageCollector::delete_bodies(const Census& census) {
  Files files = files_of(columns_.sh);
  std::erase_if(files, [&](const rocksdb::LiveFileMetaData& file) {
    const auto epochs = epochs_in(file);
    if (!epochs || epochs->last >= census.current) return true;
    const auto at = std::lower_bound(census.bodies.begin(), census.bodies.end(), epochs->first);
    return at != census.bodies.end() && *at <= epochs->last;
  });
  delete_files(columns_.sh, files);
}

// Files in level 0 stay until they are moved. An error of the database shows at the next commit.
void GarbageCollector::delete_files(rocksdb::ColumnFamilyHandle* column, const Files& files) {
  std::vector<rocksdb::Slice> keys;
  keys.reserve(2 * files.size());
  std::vector<rocksdb::RangePtr> ranges;
  for (const rocksdb::LiveFileMetaData& file : files) {
    if (file.level == 0) {
      wants_census_.store(true, std::memory_order_relaxed);
      continue;
    }
    const rocksdb::Slice* begin = &keys.emplace_back(file.smallestkey);
    ranges.emplace_back(begin, &keys.emplace_back(file.largestkey));
  }
  if (ranges.empty()) return;
  const rocksdb::Status deleted =
      rocksdb::DeleteFilesInRanges(columns_.db, column, ranges.data(), ranges.size());
  if (!deleted.ok()) {
    kLog.error("{}", store_error(deleted, "deleting files nobody needs").detail);
  }
}

// A file has several epochs when memtables were sealed faster than they were written.
void GarbageCollector::compact_sparse_files(const Census& census) {
  std::map<Epoch, Watched> watched;
  for (const rocksdb::LiveFileMetaData& file : files_of(columns_.msg)) {
    const auto epochs = epochs_in(file);
    if (!epochs || epochs->last >= census.current || file.level == 0) continue;
    const auto known = watched_.find(epochs->first);
    Watched& watch = watched[epochs->first];
    watch = known != watched_.end() ? known->second : Watched{.since = Clock::now()};
    const std::uint64_t live = live_bytes(census, *epochs);
    if (live >= file.size / 2 || live > watch.live_bytes_compacted / 2) continue;
    if (Clock::now() - watch.since < limits_.compact_after) continue;
    if (compaction_failed_ || cancelled_.load()) continue;
    watch = {.since = Clock::now(), .live_bytes_compacted = live};
    compact(epochs->first, epochs->last);
  }
  watched_ = std::move(watched);
}

// A compaction that finds damage ends all writes to the database.
bool GarbageCollector::is_readable(rocksdb::ColumnFamilyHandle* column, const rocksdb::Slice& begin,
                                   const rocksdb::Slice& end) const {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.verify_checksums = true;
  options.iterate_upper_bound = &end;
  const std::unique_ptr<rocksdb::Iterator> it(columns_.db->NewIterator(options, column));
  for (it->Seek(begin); it->Valid() && !cancelled_.load();)
    it->Next();
  if (it->status().ok()) return true;
  kLog.warning("{}", store_error(it->status(), "old messages are not compacted").detail);
  return false;
}

void GarbageCollector::compact(Epoch from, Epoch to) {
  const auto first = encode_epoch(from);
  const auto last = encode(BlockKey{to, LaneId{UINT32_MAX}, UINT64_MAX});
  const rocksdb::Slice begin(first.view().data(), first.view().size());
  const rocksdb::Slice end(last.view().data(), last.view().size());
  if (!is_readable(columns_.msg, begin, end)) return;
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  options.canceled = &cancelled_;
  const rocksdb::Status done = columns_.db->CompactRange(options, columns_.msg, &begin, &end);
  if (done.ok() || done.IsIncomplete()) return;
  compaction_failed_ = true;  // a file that cannot be read is best left alone
  kLog.error("{}", store_error(done, "compacting old messages").detail);
}

}  // namespace harrier
