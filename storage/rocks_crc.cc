#include "storage/rocks_crc.h"

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "storage/crc32c.h"

namespace {

// Stored by whichever thread RocksDB computes a checksum on, loaded by rocksdb_uses_our_crc().
std::atomic<bool> is_called{false};

}  // namespace

#if defined(__x86_64__)
namespace rocksdb::crc32c {

// Declared in RocksDB's util/crc32c.h, which is not installed.
// NOLINTNEXTLINE(readability-identifier-naming)
std::uint32_t Extend(std::uint32_t init_crc, const char* data, std::size_t n);

// NOLINTNEXTLINE(readability-identifier-naming)
std::uint32_t Extend(std::uint32_t init_crc, const char* data, std::size_t n) {
  if (!is_called.load(std::memory_order_relaxed)) is_called.store(true, std::memory_order_relaxed);
  return harrier::crc32c({data, n}, init_crc);
}

}  // namespace rocksdb::crc32c
#endif

namespace harrier {

bool rocksdb_uses_our_crc() {
  return is_called.load(std::memory_order_relaxed);
}

}  // namespace harrier
