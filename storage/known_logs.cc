#include "storage/known_logs.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>

#include <fmt/core.h>

#include "base/log.h"
#include "storage/data_dir.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");
constexpr std::string_view kTitle = "harrier logs";
constexpr std::size_t kKnownLogsMax = 64;  // far more than there are memtables

std::string path_in(const std::string& data_dir) {
  return data_dir + "/" + std::string(kKnownLogsFile);
}

}  // namespace

std::uint64_t log_number(std::string_view file_name) {
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(file_name.data(), file_name.data() + file_name.size(), number);
  const std::string_view rest = file_name.substr(static_cast<std::size_t>(end - file_name.data()));
  return error == std::errc() && rest == ".log" ? number : 0;
}

Result<KnownLogs, StoreError> read_known_logs(const std::string& data_dir) {
  KnownLogs logs;
  std::ifstream file(path_in(data_dir));
  if (!file) return logs;
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

Result<void, StoreError> write_known_logs(const std::string& data_dir, const KnownLogs& logs) {
  std::string text = fmt::format("{}\n", kTitle);
  for (const auto& [number, synced_bytes] : logs)
    text += fmt::format("{} {}\n", number, synced_bytes);
  return replace_file(path_in(data_dir), text);
}

void note_logs(const std::string& db) {
  const std::string data_dir = std::filesystem::path(db).parent_path();
  KnownLogs logs = read_known_logs(data_dir).value_or(KnownLogs());
  std::error_code gone;  // RocksDB deletes logs at any time
  KnownLogs present;
  for (const auto& file : std::filesystem::directory_iterator(db, gone)) {
    const std::uint64_t number = log_number(file.path().filename().native());
    const std::uintmax_t size = number > 0 ? file.file_size(gone) : 0;
    if (number > 0 && !gone) present[number] = size;
  }
  if (!present.empty()) std::prev(present.end())->second = 0;
  for (const auto& [number, bytes] : present)
    logs[number] = std::max(logs[number], bytes);
  while (logs.size() > kKnownLogsMax)
    logs.erase(logs.begin());
  auto noted = sync_directory(db);
  if (noted) noted = write_known_logs(data_dir, logs);
  if (!noted) kLog.warning("the logs are not noted: {}", noted.error().detail);
}

}  // namespace harrier
