#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/store.h"

namespace rocksdb {
class FileSystem;
}

namespace harrier {

// The files of a store apart from RocksDB's own use of them. All goes through RocksDB's interface
// to the file system, so that a disk that a test lets fail fails for the guard as well. Thread
// safe. Errors: io, no_space.
class Disk {
 public:
  // Null: the system's own.
  explicit Disk(std::shared_ptr<rocksdb::FileSystem> files = nullptr);

  // True also where that cannot be told: reading says why.
  bool exists(const std::string& path) const;
  Result<std::vector<std::string>, StoreError> names_in(const std::string& directory) const;
  Result<std::uint64_t, StoreError> size_of(const std::string& path) const;
  Result<std::string, StoreError> read(const std::string& path) const;

  // These are durable when they return, but for move(): that needs a sync of the directory.

  // Makes the directory unless it is there; the one above must be.
  Result<void, StoreError> make_directory(const std::string& path) const;
  // Replaces the content of a small file so that a crash leaves the old or the new one.
  Result<void, StoreError> replace(const std::string& path, std::string_view content) const;
  Result<void, StoreError> truncate(const std::string& path, std::uint64_t size) const;
  Result<void, StoreError> move(const std::string& from, const std::string& to) const;
  // Makes the content of a file, or the names in a directory, survive a power loss.
  Result<void, StoreError> sync(const std::string& path) const;
  Result<void, StoreError> sync_directory(const std::string& path) const;

 private:
  Result<void, StoreError> write(const std::string& path, std::string_view content) const;

  std::shared_ptr<rocksdb::FileSystem> files_;
};

}  // namespace harrier
