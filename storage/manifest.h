#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "storage/store.h"

namespace harrier {

// What RocksDB's MANIFEST says, as far as it concerns the guard (log_guard.h).
struct Manifest {
  struct Damage {
    std::uint64_t offset = 0;     // everything before it is intact
    bool is_followed = false;     // by intact records: it cannot be an interrupted write
    bool is_one_bit_off = false;  // likewise
  };

  // Logs with lower numbers hold nothing that is not in table files, and may be gone.
  std::uint64_t first_log_needed = 0;
  std::uint64_t intact_bytes = 0;  // up to the first damage, or zeros at the end
  std::optional<Damage> damage;
};

// Reads the octets of a MANIFEST up to the first damage.
Manifest read_manifest(ByteView file);

// The name of the MANIFEST in force, from the content of CURRENT; none if it names none.
std::optional<std::string> manifest_name(ByteView current);

}  // namespace harrier
