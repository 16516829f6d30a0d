#pragma once

#include <string>

#include "base/result.h"
#include "storage/store.h"

namespace rocksdb {
class DB;
}  // namespace rocksdb

namespace harrier {

// Makes a data directory out of an open database: `directory`/db and its store.format, synced. The
// database's directory is <data directory>/db. Whatever is in memtables is flushed first. On an
// error everything that was made is removed. Errors: unusable (`directory` is not empty), io,
// no_space.
Result<void, StoreError> copy_store(rocksdb::DB& db, const std::string& directory);

}  // namespace harrier
