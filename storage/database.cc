#include "storage/database.h"

#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/core.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>

#include "base/log.h"
#include "storage/block.h"
#include "storage/manifest_keeper.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");
constexpr Logger kRocksLog("rocksdb");

constexpr std::size_t kBlockCacheBytes = 128 << 20;
constexpr std::size_t kMiB = 1 << 20;

// RocksDB's own log file would make it abort when the disk is full.
class LogSink final : public rocksdb::Logger {
 public:
  LogSink() : rocksdb::Logger(rocksdb::InfoLogLevel::WARN_LEVEL) {}

  using rocksdb::Logger::Logv;

  void Logv(const char* format, va_list arguments) override {
    Logv(rocksdb::InfoLogLevel::WARN_LEVEL, format, arguments);
  }

  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (level < GetInfoLogLevel()) return;
    char line[1024];
    std::vsnprintf(line, sizeof(line), format, arguments);
    if (level >= rocksdb::InfoLogLevel::ERROR_LEVEL) {
      kRocksLog.error("{}", static_cast<const char*>(line));
    } else {
      kRocksLog.warning("{}", static_cast<const char*>(line));
    }
  }
};

// Runs on RocksDB's threads.
class Listener final : public rocksdb::EventListener {
 public:
  explicit Listener(std::shared_ptr<DatabaseWatch> watch) : watch_(std::move(watch)) {}

  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* status) override {
    kLog.error("the database failed in the background: {}", status->ToString());
    // RocksDB tries a compaction again by itself.
    if (reason == rocksdb::BackgroundErrorReason::kCompaction &&
        status->severity() < rocksdb::Status::Severity::kHardError) {
      return;
    }
    (status->IsNoSpace() ? watch_->full : watch_->failed).store(true, std::memory_order_relaxed);
  }

  // Whatever else has failed, the store opens the database anew (RocksTarget::heal) or ends.
  // RocksDB's own way may end the process instead: an assertion of DBImpl::ResumeImpl.
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status /*error*/,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }

  void OnMemTableSealed(const rocksdb::MemTableInfo& info) override {
    if (watch_->sealing.load(std::memory_order_relaxed)) return;
    kLog.error("RocksDB sealed a memtable of {} by itself: the end of two logs may be unsynced",
               info.cf_name);
  }

  void OnStallConditionsChanged(const rocksdb::WriteStallInfo& info) override {
    if (info.condition.cur == rocksdb::WriteStallCondition::kNormal) return;
    kLog.warning("RocksDB slows writes to {}", info.cf_name);
  }

 private:
  std::shared_ptr<DatabaseWatch> watch_;
};

rocksdb::DBOptions database_options(std::shared_ptr<DatabaseWatch> watch) {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.info_log = std::make_shared<LogSink>();
  options.listeners.push_back(std::make_shared<Listener>(std::move(watch)));
  options.paranoid_checks = true;
  options.max_bgerror_resume_count = 0;  // see OnErrorRecoveryBegin
  options.stats_dump_period_sec = 0;     // a thread and pages of text for nobody
  options.stats_persist_period_sec = 0;
  // Recovery.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.avoid_flush_during_recovery = true;  // opens faster, and on a full disk
  options.skip_stats_update_on_db_open = true;
  options.max_open_files = 512;  // more would be opened at start
  // One committer writes; the faster multi-writer modes have weaker orders and known faults.
  options.allow_concurrent_memtable_write = false;
  options.enable_pipelined_write = false;
  options.unordered_write = false;
  options.two_write_queues = false;
  options.manual_wal_flush = false;
  // Never seal memtables for the log's sake: the epoch switch bounds it.
  options.max_total_wal_size = 1ULL << 30;
  options.track_and_verify_wals_in_manifest = false;  // false alarms with SyncWAL before 7.10
  options.wal_compression = rocksdb::kNoCompression;  // unreadable logs before 8.0
  // Four jobs mean one flush thread: concurrent flushes may delete each other's output on error.
  options.max_background_jobs = 4;
  options.bytes_per_sync = kMiB;  // spreads the writing of files, or syncs of the log wait for it
  options.wal_bytes_per_sync = 0;
  return options;
}

rocksdb::ColumnFamilyOptions common_options(const StoreConfig& config) {
  rocksdb::ColumnFamilyOptions options;
  options.compression = rocksdb::kNoCompression;
  options.write_buffer_size = config.write_buffer_bytes;
  options.max_write_buffer_number = static_cast<int>(kSealedMemtablesMax) + 3;
  options.min_write_buffer_number_to_merge = 1;
  options.level_compaction_dynamic_level_bytes = false;
  options.ttl = 0;
  options.periodic_compaction_seconds = 0;
  return options;
}

// For families whose keys start with the epoch: files never overlap, so compaction only moves them
// out of level 0, at once, because only below it whole files can be dropped.
rocksdb::ColumnFamilyOptions epoch_options(const StoreConfig& config) {
  rocksdb::ColumnFamilyOptions options = common_options(config);
  options.level0_file_num_compaction_trigger = 1;
  options.level0_slowdown_writes_trigger = 200;
  options.level0_stop_writes_trigger = 400;
  options.soft_pending_compaction_bytes_limit = 0;
  options.hard_pending_compaction_bytes_limit = 0;
  options.target_file_size_base = 512 * kMiB;  // never splits an epoch
  options.max_bytes_for_level_base = 1024 * kMiB;
  return options;
}

void set_table(rocksdb::ColumnFamilyOptions& options, std::size_t block_bytes,
               const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_size = block_bytes;
  table.block_cache = cache;
  table.checksum = rocksdb::kXXH3;
  table.filter_policy = nullptr;  // only ranges are read
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.format_version = 5;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
}

std::vector<rocksdb::ColumnFamilyDescriptor> column_families(const StoreConfig& config,
                                                             const FloorFilter& filter) {
  const std::shared_ptr<rocksdb::Cache> cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  rocksdb::ColumnFamilyOptions small = common_options(config);
  // One file per level: RocksDB may pass over further ones that are damaged (file_scan.h).
  small.target_file_size_base = 512 * kMiB;
  set_table(small, 4096, cache);
  rocksdb::ColumnFamilyOptions epochs = epoch_options(config);
  set_table(epochs, kBlockBytesMax, cache);
  rocksdb::ColumnFamilyOptions messages = epochs;
  messages.compaction_filter_factory = filter.factory();
  // Keys of one lane and epoch ascend. Safe only as long as nobody uses DeleteRange.
  messages.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(8));
  return {{rocksdb::kDefaultColumnFamilyName, small},
          {"meta", small},
          {"msg", messages},
          {"sh", epochs},
          {"ack", epochs},
          {"qs", small}};
}

}  // namespace

Result<void, StoreError> DatabaseWatch::state() const {
  if (failed.load(std::memory_order_relaxed)) {
    return fail(StoreError{StoreError::Kind::io, "the database failed in the background"});
  }
  if (full.load(std::memory_order_relaxed)) {
    return fail(
        StoreError{StoreError::Kind::no_space, "the disk was full while memtables were flushed"});
  }
  return {};
}

Database::Database() : watch_(std::make_shared<DatabaseWatch>()) {}

Database::~Database() {
  if (columns_.db == nullptr) return;
  // Closing before the handles are gone is an assertion failure in Debian's build.
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    columns_.db->DestroyColumnFamilyHandle(handle);
  }
  delete columns_.db;
}

Result<std::unique_ptr<Database>, StoreError> Database::open(const std::string& path,
                                                             const StoreConfig& config,
                                                             const FloorFilter& filter) {
  std::unique_ptr<Database> database(new Database());
  Columns& columns = database->columns_;
  std::vector<rocksdb::ColumnFamilyHandle*>& handles = database->handles_;
  std::error_code ignored;  // RocksDB will say it better
  std::filesystem::create_directories(path, ignored);
  rocksdb::DBOptions options = database_options(database->watch_);
  database->env_ = rocksdb::NewCompositeEnv(keep_current_manifest(config.file_system));
  options.env = database->env_.get();
  const rocksdb::Status opened =
      rocksdb::DB::Open(options, path, column_families(config, filter), &handles, &columns.db);
  if (!opened.ok()) return fail(store_error(opened, "opening the database in " + path));
  database->name_columns();
  return database;
}

Result<std::unique_ptr<Database>, StoreError> Database::open_read_only(const std::string& path,
                                                                       const StoreConfig& config,
                                                                       const FloorFilter& filter) {
  std::unique_ptr<Database> database(new Database());
  const rocksdb::Status opened = rocksdb::DB::OpenForReadOnly(
      database_options(database->watch_), path, column_families(config, filter),
      &database->handles_, &database->columns_.db);
  if (!opened.ok()) return fail(store_error(opened, "opening the database in " + path));
  database->name_columns();
  return database;
}

Result<void, StoreError> Database::renew_snapshots() {
  rocksdb::ColumnFamilyHandle*& handle = handles_[5];
  rocksdb::ColumnFamilyDescriptor descriptor;
  rocksdb::Status done = handle->GetDescriptor(&descriptor);
  if (done.ok()) done = columns_.db->DropColumnFamily(handle);
  if (done.ok()) done = columns_.db->DestroyColumnFamilyHandle(handle);
  if (!done.ok()) return fail(store_error(done, "removing the damaged lane snapshots"));
  handle = nullptr;
  done = columns_.db->CreateColumnFamily(descriptor.options, descriptor.name, &handle);
  if (!done.ok()) {
    handles_.pop_back();
    return fail(store_error(done, "making room for lane snapshots"));
  }
  name_columns();
  return {};
}

void Database::name_columns() {
  columns_.meta = handles_[1];
  columns_.msg = handles_[2];
  columns_.sh = handles_[3];
  columns_.ack = handles_[4];
  columns_.qs = handles_[5];
}

StoreError store_error(const rocksdb::Status& status, std::string_view doing) {
  using Kind = StoreError::Kind;
  Kind kind = Kind::io;
  if (status.IsCorruption()) kind = Kind::corruption;
  if (status.IsNoSpace()) {
    return {Kind::no_space,
            fmt::format("{}: the disk is full, make room on it ({})", doing, status.ToString())};
  }
  return {kind, fmt::format("{}: {}", doing, status.ToString())};
}

}  // namespace harrier
