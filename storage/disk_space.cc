#include "storage/disk_space.h"

#include <sys/statvfs.h>

#include <cerrno>
#include <system_error>

#include <fmt/core.h>
#include <rocksdb/file_system.h>

#include "storage/columns.h"

namespace harrier {

Result<DiskSpace, StoreError> disk_space(const std::string& path) {
  struct statvfs figures {};

  if (::statvfs(path.c_str(), &figures) != 0) {
    return fail(
        StoreError{StoreError::Kind::io, fmt::format("free space of {} cannot be told: {}", path,
                                                     std::generic_category().message(errno))});
  }
  return DiskSpace{.free_bytes = std::uint64_t{figures.f_bavail} * figures.f_frsize,
                   .total_bytes = std::uint64_t{figures.f_blocks} * figures.f_frsize};
}

Result<std::uint64_t, StoreError> free_bytes(const std::string& path, const StoreConfig& config) {
  if (config.file_system != nullptr) {
    std::uint64_t octets = 0;
    const rocksdb::IOStatus told =
        config.file_system->GetFreeSpace(path, rocksdb::IOOptions(), &octets, nullptr);
    if (!told.ok()) return fail(store_error(told, "asking for free space"));
    return octets;
  }
  const auto space = disk_space(path);
  if (!space) return fail(space.error());
  return space->free_bytes;
}

}  // namespace harrier
