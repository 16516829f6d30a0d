#pragma once

#include <cstdint>

#include "base/result.h"
#include "storage/columns.h"
#include "storage/database.h"
#include "storage/store.h"

namespace harrier {

// RocksDB's memtables as a commit writer sees them: sealed only when it says so. Both outlive this.
class Memtables {
 public:
  Memtables(const Columns& columns, DatabaseWatch& watch) : columns_(columns), watch_(watch) {}

  // Octets that the replayed log has put into the open ones.
  std::uint64_t replayed_bytes() const;

  // Ends the open ones; RocksDB writes them to tables on its threads. With `wait`: it has when this
  // returns. Errors: io, no_space.
  Result<void, StoreError> seal(bool wait);

  // Waits until few are sealed and not yet tables. RocksDB would stall writers itself later; we
  // stop before that, where it can be seen. Errors: what happened in the background.
  Result<void, StoreError> await_flushes() const;

 private:
  std::uint64_t most_sealed() const;

  const Columns& columns_;
  DatabaseWatch& watch_;
};

}  // namespace harrier
