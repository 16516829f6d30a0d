#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"
#include "storage/disk.h"
#include "storage/store.h"

namespace harrier {

// Which logs of the database exist for sure and how much of each is synced, in a file of its own,
// so that a log that vanished or was cut off is missed. As text:
//
//   harrier logs
//   12 1048613        number of the log, octets known to be synced; 0 while it is written
//
// Logs stay on the list after RocksDB deleted them: the MANIFEST says which are still needed, and
// should its end be lost, the list shows that logs are gone which then would be needed.
using KnownLogs = std::map<std::uint64_t, std::uint64_t>;

inline constexpr std::string_view kKnownLogsFile = "store.logs";

// Empty if there is no list. Errors: corruption, io.
Result<KnownLogs, StoreError> read_known_logs(const Disk& disk, const std::string& data_dir);

Result<void, StoreError> write_known_logs(const Disk& disk, const std::string& data_dir,
                                          const KnownLogs& logs);

// Syncs the directory `db` and adds its logs to the list beside it. To be called when all logs but
// the newest are synced. Fails where the directory cannot be synced: then no later sync of a log in
// it can be trusted. If only the list cannot be written that is logged: an older list is a weaker
// guard, never a wrong one.
Result<void, StoreError> note_logs(const Disk& disk, const std::string& db);

// The number of a log, 0 for any other file name.
std::uint64_t log_number(std::string_view file_name);

}  // namespace harrier
