#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "storage/columns.h"
#include "storage/keys.h"
#include "storage/lane_states.h"

namespace rocksdb {
class Slice;
struct LiveFileMetaData;
}  // namespace rocksdb

namespace harrier {

// What is still needed, as of a moment at which everything was synced: what a file is deleted for
// must outlive it.
struct Census {
  Epoch current = 0;             // from here on nothing is touched
  Epoch in_memory_from = 0;      // from here on blocks may lie in memory, not in files
  Epoch checkpoint = 0;          // from here on ack records are needed
  std::vector<EpochUse> needed;  // ascending: epochs in which some lane has unsettled entries
  std::vector<Epoch> bodies;     // ascending: epochs in which bodies of unsettled entries lie
  bool has_live_bytes = false;   // whether those of `needed` were counted
};

struct GarbageLimits {
  std::chrono::seconds compact_after{600};  // age of a file, as far as this run knows
};

// Gives space back, on a thread of its own: deleting a file of 64 MiB takes RocksDB tens of
// milliseconds. Whole files in which nothing is needed are deleted, of blocks and of bodies each by
// itself: a small message that stays does not keep the bodies of its epoch. A file that is kept for
// less than half of its octets is compacted once it is old: the filter then leaves the settled
// blocks out.
class GarbageCollector {
 public:
  explicit GarbageCollector(const Columns& columns, GarbageLimits limits = {});
  // Ends after the deletion at hand.
  ~GarbageCollector();
  GarbageCollector(const GarbageCollector&) = delete;
  GarbageCollector& operator=(const GarbageCollector&) = delete;

  // Replaces a census not yet looked at.
  void submit(Census census);

  // Deletes what the last census allows, then ends the thread.
  void finish();

  // No file holds an epoch below. Thread safe.
  Epoch oldest_epoch() const { return oldest_epoch_.load(std::memory_order_relaxed); }

  // Something could not be deleted yet: a file of level 0 waits for its move. Thread safe.
  bool wants_census() const { return wants_census_.load(std::memory_order_relaxed); }

  // One round; what the thread does with each census.
  void collect(const Census& census);

 private:
  using Clock = std::chrono::steady_clock;
  using Files = std::vector<rocksdb::LiveFileMetaData>;

  // What is known of a file of blocks. Where a compaction does not help, because unsettled entries
  // sit in all blocks, it is tried again only when half of those are gone.
  struct Watched {
    Clock::time_point since;                          // it was first seen, or compacted
    std::uint64_t live_bytes_compacted = UINT64_MAX;  // how many there were at the last compaction
  };

  enum class Ending {
    none,
    finish,
    abandon
  };

  void end(Ending how);
  void run();
  Files files_of(rocksdb::ColumnFamilyHandle* column) const;
  void delete_blocks(const Census& census);
  void delete_acks(const Census& census);
  void delete_bodies(const Census& census);
  void delete_files(rocksdb::ColumnFamilyHandle* column, const Files& files);
  void compact_sparse_files(const Census& census);
  bool is_readable(rocksdb::ColumnFamilyHandle* column, const rocksdb::Slice& begin,
                   const rocksdb::Slice& end) const;
  void compact(Epoch from, Epoch to);

  const Columns columns_;
  const GarbageLimits limits_;

  std::mutex mutex_;  // the members up to the next comment
  std::condition_variable arrived_;
  std::optional<Census> census_;
  Ending ending_ = Ending::none;

  // Stored by the collecting thread, loaded by the committer in tidy().
  std::atomic<Epoch> oldest_epoch_{0};
  std::atomic<bool> wants_census_{true};
  // Stored by end(), loaded by RocksDB while it compacts for us.
  std::atomic<bool> cancelled_{false};

  // Of the collecting thread.
  std::map<Epoch, Watched> watched_;  // by first epoch
  bool compaction_failed_ = false;

  std::thread thread_;  // of the thread that calls submit() and finish()
};

}  // namespace harrier
