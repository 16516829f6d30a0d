#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "storage/disk.h"
#include "storage/on_damage.h"
#include "storage/store.h"

namespace harrier {

struct GuardFindings {
  std::vector<std::string> lost;   // what had been synced and cannot be read, one line each
  std::vector<std::string> notes;  // what a power loss left behind: nothing confirmed is in it
};

// Looks at the logs and the MANIFEST of the database in `data_dir`/db before RocksDB does, because
// RocksDB takes damage in the middle for the end and replays on behind a gap. Syncs all logs, so
// that everything a new run starts from is synced, and cuts off what must not be replayed: an
// interrupted write at the end, what follows a gap of unsynced writes. Damage that is accepted is
// set aside as *.damaged. The caller holds the lock of the directory. Errors: corruption, io,
// unusable. Costs one read of the logs.
Result<GuardFindings, StoreError> guard_database(const Disk& disk, const std::string& data_dir,
                                                 OnDamage on_damage);

}  // namespace harrier
