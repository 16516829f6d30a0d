#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "storage/disk.h"
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
  // Makes the directory if there is none. `disk` is where the files in it are, but for the lock.
  // Errors: locked, unusable, no_space.
  static Result<DataDir, StoreError> open(std::string path, Disk disk = Disk());
  // Changes nothing, so the directory may lie on a read-only medium. Several may read at a time, no
  // broker starts meanwhile; where none ever ran, as in a copy, there is no lock to hold. Errors:
  // locked, unusable.
  static Result<DataDir, StoreError> open_to_read(std::string path);
  DataDir(DataDir&& other) noexcept;
  DataDir& operator=(DataDir&& other) noexcept;
  ~DataDir();

  const std::string& path() const { return path_; }

  const Disk& disk() const { return disk_; }

  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  DataDir(std::string path, Disk disk, int lock)
      : path_(std::move(path)), disk_(std::move(disk)), lock_(lock) {}

  StoreError in_use() const;

  std::string path_;
  Disk disk_;
  int lock_;  // open file, closing it ends the lock; -1 for none
};

}  // namespace harrier
