#pragma once

#include <memory>
#include <string>

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class Iterator;
}  // namespace rocksdb

namespace harrier {

// A forward iterator over msg or ack that misses no table file. RocksDB's own (until 8.7) passes
// over a file below level 0 as if it were empty when the first block of it cannot be read. This one
// knows the first key of every file there is, and ends with status Corruption when one does not
// come. Not for families whose keys are deleted or written again. To be used before anything
// deletes files.
std::unique_ptr<rocksdb::Iterator> scan_files(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* column);

// Where a scan of such a family can go on that found damage behind the key `last`: at the first key
// to be reached from the end of the damaged file, or behind that. Empty if no file is behind
// `last`.
std::string resume_behind(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* column,
                          const std::string& last);

}  // namespace harrier
