#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/columns.h"
#include "storage/floor_filter.h"
#include "storage/store_config.h"

namespace rocksdb {
class Env;
}

namespace harrier {

// Octets written in one epoch. RocksDB's own limit is half as much again, so that memtables are
// sealed when we say so, after a sync, and never by RocksDB.
constexpr std::uint64_t epoch_bytes(const StoreConfig& config) {
  return config.write_buffer_bytes - config.write_buffer_bytes / 3;
}

// Unflushed memtables at which commits wait. RocksDB would slow writers down at two more.
inline constexpr std::uint64_t kSealedMemtablesMax = 2;

// What the committer thread and RocksDB's threads tell each other.
struct DatabaseWatch {
  // What happened in the background, if anything did.
  Result<void, StoreError> state() const;

  // Stored by RocksDB's threads when a flush or compaction failed for good, loaded by the
  // committer.
  std::atomic<bool> failed{false};
  // Likewise, when the reason was a full disk: the database has to be opened anew.
  std::atomic<bool> full{false};
  // Stored by the committer around its demand to seal memtables, loaded by RocksDB's threads to
  // tell such a seal from one of RocksDB's own.
  std::atomic<bool> sealing{false};
};

// The RocksDB database, open with our options and column families, its log going to ours.
class Database {
 public:
  static Result<std::unique_ptr<Database>, StoreError> open(const std::string& path,
                                                            const StoreConfig& config,
                                                            const FloorFilter& filter);
  // The same without changing anything on disk.
  static Result<std::unique_ptr<Database>, StoreError> open_read_only(const std::string& path,
                                                                      const StoreConfig& config,
                                                                      const FloorFilter& filter);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Replaces the family of lane snapshots, whose files cannot all be read, by an empty one: a
  // compaction of a damaged file would fail and stop all writes.
  Result<void, StoreError> renew_snapshots();

  // Changed by renew_snapshots().
  const Columns& columns() const { return columns_; }

  DatabaseWatch& watch() { return *watch_; }

 private:
  Database();

  void name_columns();

  std::shared_ptr<DatabaseWatch> watch_;
  std::unique_ptr<rocksdb::Env> env_;  // none where nothing is changed
  Columns columns_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
};

}  // namespace harrier
