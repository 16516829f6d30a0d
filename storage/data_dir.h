#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "storage/store.h"

namespace harrier {

// The data directory, held by this process alone for as long as the object lives.
//
//   harrier.lock   locked while a broker runs; holds its process id as text
//   harrier.sock   where a running broker takes commands (broker/admin/)
//   store.format   which layout the rest has (schema.h)
//   store.logs     which logs db/ has for sure (known_logs.h)
//   db/            the RocksDB database
class DataDir {
 public:
  // Makes the directory if there is none. Errors: locked, unusable, no_space.
  static Result<DataDir, StoreError> open(std::string path);
  DataDir(DataDir&& other) noexcept;
  DataDir& operator=(DataDir&& other) noexcept;
  ~DataDir();

  const std::string& path() const { return path_; }

  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  DataDir(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::string path_;
  int lock_;  // open file; closing it ends the lock
};

// Replaces the content of a small file so that a crash leaves the old or the new one.
Result<void, StoreError> replace_file(const std::string& path, std::string_view content);

// Makes the names in a directory, or the content of a file, survive a power loss.
Result<void, StoreError> sync_directory(const std::string& path);
Result<void, StoreError> sync_file(const std::string& path);

}  // namespace harrier
