#pragma once

#include <cstdint>

#include "base/result.h"
#include "storage/store.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class Status;
}  // namespace rocksdb

namespace harrier {

// The open database and its column families (keys.h). Borrowed by whoever works on it: the
// recovery, migrations, the commit writer. Owned by the RocksDB store.
struct Columns {
  rocksdb::DB* db = nullptr;
  rocksdb::ColumnFamilyHandle* meta = nullptr;
  rocksdb::ColumnFamilyHandle* msg = nullptr;
  rocksdb::ColumnFamilyHandle* sh = nullptr;
  rocksdb::ColumnFamilyHandle* ack = nullptr;
  rocksdb::ColumnFamilyHandle* qs = nullptr;
};

// A failed status in our words. `doing` completes "while ...".
StoreError store_error(const rocksdb::Status& status, std::string_view doing);

}  // namespace harrier
