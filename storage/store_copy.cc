#include "storage/store_copy.h"

#include <filesystem>
#include <memory>
#include <system_error>

#include <fmt/core.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/utilities/checkpoint.h>

#include "base/log.h"
#include "storage/columns.h"
#include "storage/disk.h"
#include "storage/schema.h"

namespace harrier {

namespace {

namespace fs = std::filesystem;

constexpr Logger kLog("storage");

StoreError unusable(const std::string& directory, std::string_view problem) {
  return {StoreError::Kind::unusable,
          fmt::format("the store cannot be copied to {}: {}", directory, problem)};
}

Result<void, StoreError> copy_database(rocksdb::DB& db, const std::string& path) {
  rocksdb::Checkpoint* made = nullptr;
  rocksdb::Status copied = rocksdb::Checkpoint::Create(&db, &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  if (copied.ok()) copied = checkpoint->CreateCheckpoint(path);  // flushes always
  if (!copied.ok()) return fail(store_error(copied, "copying the database to " + path));
  return {};
}

Disk disk_of(const rocksdb::DB& db) {
  return Disk(db.GetEnv()->GetFileSystem());
}

// RocksDB does not sync all files that it links or copies.
Result<void, StoreError> sync_all(const Disk& disk, const std::string& directory) {
  std::error_code error;
  for (const auto& file : fs::recursive_directory_iterator(directory, error)) {
    const std::string path = file.path();
    auto synced = file.is_directory() ? disk.sync_directory(path) : disk.sync(path);
    if (!synced) return synced;
  }
  if (error) return fail(unusable(directory, error.message()));
  return disk.sync_directory(directory);
}

// The format comes last: without it nobody starts on a copy that is not whole.
Result<void, StoreError> fill(rocksdb::DB& db, const std::string& directory) {
  const Disk disk = disk_of(db);
  const fs::path source = fs::path(db.GetName()).parent_path();
  const auto format = disk.read(source / kFormatFile);
  if (!format) return fail(format.error());
  if (auto copied = copy_database(db, directory + "/db"); !copied) return copied;
  if (auto synced = sync_all(disk, directory); !synced) return synced;
  return disk.replace(directory + "/" + std::string(kFormatFile), *format);
}

void empty(const std::string& directory) {
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(directory, ignored))
    fs::remove_all(file.path(), ignored);
}

}  // namespace

Result<void, StoreError> copy_store(rocksdb::DB& db, const std::string& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return fail(unusable(directory, error.message()));
  const bool is_empty = fs::is_empty(directory, error);
  if (error) return fail(unusable(directory, error.message()));
  if (!is_empty) return fail(unusable(directory, "it is not empty; name another"));
  auto filled = fill(db, directory);
  if (!filled) {
    empty(directory);
    return filled;
  }
  kLog.info("the store was copied to {}", directory);
  return disk_of(db).sync_directory(fs::absolute(directory).parent_path());
}

}  // namespace harrier
