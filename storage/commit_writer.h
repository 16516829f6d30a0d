#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/block.h"
#include "storage/body_store.h"
#include "storage/columns.h"
#include "storage/commit_loop.h"
#include "storage/commit_work.h"
#include "storage/database.h"
#include "storage/floor_filter.h"
#include "storage/garbage_collector.h"
#include "storage/lane_reader.h"
#include "storage/lane_record.h"
#include "storage/lane_states.h"
#include "storage/memtables.h"
#include "storage/recovery.h"
#include "storage/staged_bodies.h"

namespace rocksdb {
class WriteBatch;
}  // namespace rocksdb

namespace harrier {

struct WriterLimits {
  std::uint64_t epoch_bytes = 64 << 20;  // written in one epoch, all column families
  std::chrono::minutes epoch_time_max{10};
  GarbageLimits garbage{};
};

// Turns the batches of one commit into one RocksDB write, and time into epochs.
//
// Write: entries put and settled in the same commit vanish; the rest of each lane is packed into
// blocks; everything settled goes into one ack record. Nothing is written for a commit in which all
// vanished: what it settled waits for the next one.
//
// Epoch switch, after so many octets: sync, publish the floors to the filter, seal the memtables.
// Sync first, because RocksDB's recovery would apply a newer log although the end of an older one
// is missing. In each epoch the lanes changed before it are snapshotted, a few per commit; when all
// are, the checkpoint moves to the epoch's begin and older ack records are garbage.
class CommitWriter final : public CommitTarget {
 public:
  CommitWriter(Database& database, FloorFilter& filter, RecoveredStore recovered,
               WriterLimits limits);
  ~CommitWriter() override;

  Result<std::uint64_t, StoreError> write(std::span<StoreBatch> batches) override;
  Result<void, StoreError> sync() override;
  Result<void, StoreError> tidy(bool idle) override;
  Result<void, StoreError> close() override;
  void read(const PageRequest& request, Store::PageReader done) override;
  void end_reads() override;
  // Ends the reads and returns those that were not begun.
  std::deque<PendingPage> take_unread();
  CopyResult copy_to(const std::string& directory) override;

  // Goes on for a writer that found the disk full. The next write may repeat puts and settles that
  // were recovered: those are ignored. `dropped`: lanes it knew as dropped. Before the first write.
  void expect_repeats(const std::unordered_map<LaneId, Epoch>& dropped);

  Epoch epoch() const { return epoch_; }

  // To be looked at only before the first write, or after the last.
  const LaneStates& lanes() const { return lanes_; }

  // Drops all other lanes. Before the first write.
  Result<void, StoreError> keep_lanes(std::span<const LaneId> live);

 private:
  using Clock = std::chrono::steady_clock;

  Result<void, StoreError> make_room(std::span<const StoreBatch> batches);
  void record(const StoreBatch& batch);
  void record(const StoreBatch& batch, const StoreBatch::Operation& operation);
  void stage(const StoreBatch& batch, const StoreBatch::Operation& operation);
  void record_put(const StoreBatch& batch, const StoreBatch::Operation& operation);
  void count_bodies();
  void pack(CommitWork::Lane& work);
  void pack_blocks(const CommitWork::Lane& work);
  BodyPlace place_body(LaneState& lane, const CommitWork::Put& put);
  void put_block(LaneState& lane, const SequenceRange& bodies);
  void put_acks();
  void snapshot_lanes(std::size_t count_max);
  void snapshot(LaneState& lane);
  void log_commit();
  Result<void, StoreError> write_batch();
  Result<void, StoreError> switch_epoch();
  void publish_floors();
  void begin_checkpoint();
  enum class Counting {
    epochs,
    octets
  };
  void take_census(Counting counting);

  const Columns columns_;
  DatabaseWatch& watch_;
  Memtables memtables_;
  FloorFilter& filter_;
  const WriterLimits limits_;
  LaneStates lanes_;
  Epoch epoch_;
  Epoch checkpoint_;
  const std::uint64_t run_;

  // The commit at hand.
  std::uint64_t commit_ = 0;
  CommitWork work_;
  bool must_write_ = false;  // there is more than what is done to lanes
  std::unique_ptr<rocksdb::WriteBatch> batch_;
  BlockBuilder block_;
  BodyWriter bodies_;
  StagedBodies staged_;
  AckRecordBuilder acks_;  // also of earlier commits in which everything vanished
  Buffer snapshot_;

  // Since the last epoch switch.
  std::vector<LaneId> to_snapshot_;
  std::size_t snapshots_per_commit_ = 0;
  bool checkpoint_pending_ = false;
  std::uint64_t epoch_bytes_ = 0;
  Clock::time_point epoch_began_;

  std::uint64_t unsynced_bytes_ = 0;

  // For the marks in the log. Unlike commit_ only what is written is counted, without gaps.
  std::uint64_t written_commits_ = 0;
  std::uint64_t synced_commit_ = 0;
  std::uint64_t first_of_log_ = 0;
  Clock::time_point census_at_{};
  LaneReader reader_;
  GarbageCollector garbage_;
};

}  // namespace harrier
