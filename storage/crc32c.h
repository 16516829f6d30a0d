#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace harrier {

// CRC-32C (Castagnoli) of `octets`, going on from `crc`, which is 0 at the start. Uses the
// processor's instruction where there is one: Debian's RocksDB does not.
std::uint32_t crc32c(ByteView octets, std::uint32_t crc = 0);

// The same by table: the reference the fast one is checked against.
std::uint32_t crc32c_by_table(ByteView octets, std::uint32_t crc = 0);

// Whether crc32c() uses the processor's instruction.
bool crc32c_is_fast();

}  // namespace harrier
