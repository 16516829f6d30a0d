#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "storage/store.h"
#include "storage/store_config.h"

namespace harrier {

// How much room the file system of a directory has.
struct DiskSpace {
  std::uint64_t free_bytes = 0;   // for this user
  std::uint64_t total_bytes = 0;  // used and free
};

// The room on the file system `path` lies on; it must exist. Asks the system each time, which is
// cheap but for network file systems. Any thread. Errors: io.
Result<DiskSpace, StoreError> disk_space(const std::string& path);

// Free octets for the database in `path`, as its file system (config.file_system) tells them.
Result<std::uint64_t, StoreError> free_bytes(const std::string& path, const StoreConfig& config);

}  // namespace harrier
