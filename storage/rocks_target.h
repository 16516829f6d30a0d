#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "storage/commit_loop.h"
#include "storage/commit_writer.h"
#include "storage/database.h"
#include "storage/disk.h"
#include "storage/floor_filter.h"
#include "storage/lane_reader.h"
#include "storage/log_guard.h"
#include "storage/store_config.h"

namespace harrier {

// The database with its writer, as the commit loop sees it. Can be closed and opened again, because
// RocksDB does not go on after its log found the disk full. Owned by the store; used by one thread
// at a time.
class RocksTarget final : public CommitTarget {
 public:
  // `data_dir`: the directory, whose lock the caller holds.
  RocksTarget(std::string data_dir, StoreConfig config);
  ~RocksTarget() override;

  // Checks the logs and opens the database. Then migrations may run, then recover() makes the
  // writer.
  Result<void, StoreError> open(OnDamage on_damage);
  Result<void, StoreError> recover(OnDamage on_damage);

  Result<std::uint64_t, StoreError> write(std::span<StoreBatch> batches) override;
  Result<void, StoreError> sync() override;
  Result<void, StoreError> tidy(bool idle) override;
  Result<void, StoreError> close() override;
  void read(const PageRequest& request, Store::PageReader done) override;
  void end_reads() override;
  CopyResult copy_to(const std::string& directory) override;
  Result<void, StoreError> heal() override;

  const Columns& columns() const { return database_->columns(); }

  // After recover().
  CommitWriter& writer() { return *writer_; }

 private:
  std::string database_path() const { return data_dir_ + "/db"; }

  const std::string data_dir_;
  const StoreConfig config_;
  const Disk disk_;
  FloorFilter filter_;  // outlives the database: its floors stay true
  std::unique_ptr<Database> database_;
  std::unique_ptr<CommitWriter> writer_;
  std::unordered_map<LaneId, Epoch> dropped_;  // lanes, with the epoch they were dropped in
  std::uint64_t first_run_ = 0;                // of this process
  std::deque<PendingPage> unread_;             // asked for before the disk was full
};

}  // namespace harrier
