#include "storage/known_logs.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <system_error>
#include <vector>

#include <fmt/core.h>

#include "base/log.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");
constexpr std::string_view kTitle = "harrier logs";
constexpr std::size_t kKnownLogsMax = 64;  // far more than there are memtables

std::string path_in(const std::string& data_dir) {
  return data_dir + "/" + std::string(kKnownLogsFile);
}

KnownLogs logs_in(const Disk& disk, const std::string& db, const std::vector<std::string>& names) {
  KnownLogs logs;
  for (const std::string& name : names) {
    const std::uint64_t number = log_number(name);
    if (number == 0) continue;
    const auto size = disk.size_of(db + "/" + name);
    if (size) logs[number] = *size;  // RocksDB deletes logs at any time
  }
  return logs;
}

Result<void, StoreError> note_present_logs(const Disk& disk, const std::string& db,
                                           const std::string& data_dir) {
  auto logs = read_known_logs(disk, data_dir);
  if (!logs) return fail(logs.error());
  const auto names = disk.names_in(db);
  if (!names) return fail(names.error());
  KnownLogs present = logs_in(disk, db, *names);
  if (!present.empty()) std::prev(present.end())->second = 0;
  for (const auto& [number, bytes] : present)
    (*logs)[number] = std::max((*logs)[number], bytes);
  while (logs->size() > kKnownLogsMax)
    logs->erase(logs->begin());
  return write_known_logs(disk, data_dir, *logs);
}

}  // namespace

std::uint64_t log_number(std::string_view file_name) {
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(file_name.data(), file_name.data() + file_name.size(), number);
  const std::string_view rest = file_name.substr(static_cast<std::size_t>(end - file_name.data()));
  return error == std::errc() && rest == ".log" ? number : 0;
}

Result<KnownLogs, StoreError> read_known_logs(const Disk& disk, const std::string& data_dir) {
  KnownLogs logs;
  if (!disk.exists(path_in(data_dir))) return logs;
  const auto text = disk.read(path_in(data_dir));
  if (!text) return fail(text.error());
  std::istringstream file(*text);
  std::string line;
  bool intact = std::getline(file, line) && line == kTitle;
  while (intact && std::getline(file, line)) {
    std::istringstream fields(line);
    std::uint64_t number = 0;
    std::uint64_t synced_bytes = 0;
    intact = static_cast<bool>(fields >> number >> synced_bytes) && fields.eof();
    logs[number] = synced_bytes;
  }
  if (intact) return logs;
  return fail(StoreError{
      StoreError::Kind::corruption,
      fmt::format("{} is not a list of logs; it is made anew at every start, so if nothing else is "
                  "damaged remove it",
                  path_in(data_dir))});
}

Result<void, StoreError> write_known_logs(const Disk& disk, const std::string& data_dir,
                                          const KnownLogs& logs) {
  std::string text = fmt::format("{}\n", kTitle);
  for (const auto& [number, synced_bytes] : logs)
    text += fmt::format("{} {}\n", number, synced_bytes);
  return disk.replace(path_in(data_dir), text);
}

Result<void, StoreError> note_logs(const Disk& disk, const std::string& db) {
  // If this fails a log may be gone later although its own sync works.
  if (auto synced = disk.sync_directory(db); !synced) return synced;
  const std::string data_dir = std::filesystem::path(db).parent_path();
  if (auto noted = note_present_logs(disk, db, data_dir); !noted) {
    kLog.warning("the logs are not noted: {}", noted.error().detail);
  }
  return {};
}

}  // namespace harrier
