#include "storage/memtables.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include <rocksdb/db.h>

#include "base/log.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");

}  // namespace

std::uint64_t Memtables::replayed_bytes() const {
  std::uint64_t bytes = 0;
  for (rocksdb::ColumnFamilyHandle* column : {columns_.msg, columns_.sh, columns_.ack}) {
    std::uint64_t replayed = 0;
    columns_.db->GetIntProperty(column, rocksdb::DB::Properties::kCurSizeActiveMemTable, &replayed);
    bytes += replayed;
  }
  return bytes;
}

Result<void, StoreError> Memtables::seal(bool wait) {
  rocksdb::FlushOptions options;
  options.wait = wait;
  options.allow_write_stall = true;
  watch_.sealing.store(true, std::memory_order_relaxed);
  const rocksdb::Status sealed = columns_.db->Flush(
      options, {columns_.msg, columns_.sh, columns_.ack, columns_.qs, columns_.meta});
  watch_.sealing.store(false, std::memory_order_relaxed);
  if (!sealed.ok()) return fail(store_error(sealed, "sealing memtables"));
  return {};
}

Result<void, StoreError> Memtables::await_flushes() const {
  for (bool told = false; most_sealed() > kSealedMemtablesMax;) {
    if (auto state = watch_.state(); !state) return state;
    if (!std::exchange(told, true)) kLog.debug("commits wait for the disk to take memtables");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

std::uint64_t Memtables::most_sealed() const {
  std::uint64_t most = 0;
  for (rocksdb::ColumnFamilyHandle* column :
       {columns_.msg, columns_.sh, columns_.ack, columns_.qs, columns_.meta}) {
    std::uint64_t sealed = 0;
    columns_.db->GetIntProperty(column, rocksdb::DB::Properties::kNumImmutableMemTable, &sealed);
    most = std::max(most, sealed);
  }
  return most;
}

}  // namespace harrier
