#include "broker/admin/copy_directory.h"

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/core.h>

#include "storage/disk.h"

namespace harrier {
namespace {

namespace fs = std::filesystem;
using Outcome = Result<void, std::string>;

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
constexpr std::string_view kUnfinished = ".part";

Outcome failed(const fs::path& path, const std::error_code& why) {
  return fail(fmt::format("cannot copy to {}: {}", path.string(), why.message()));
}

Outcome last_error(const fs::path& path) {
  return failed(path, std::error_code(errno, std::generic_category()));
}

Outcome synced(const Result<void, StoreError>& result) {
  if (!result) return fail(result.error().detail);
  return {};
}

Outcome copy_file(const fs::path& from, const fs::path& to, const std::stop_token& stop) {
  std::ifstream in(from, std::ios::binary);
  if (!in) return last_error(from);
  std::ofstream out(to, std::ios::binary);
  std::vector<char> chunk(kChunkBytes);
  while (out && in) {
    if (stop.stop_requested()) return fail(fmt::format("the copy to {} was given up", to.string()));
    in.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    out.write(chunk.data(), in.gcount());
  }
  if (in.bad()) return last_error(from);
  out.close();
  if (!out) return last_error(to);
  return synced(Disk().sync(to));
}

Outcome copy_entries(const fs::path& from, const fs::path& to, const std::stop_token& stop) {
  std::error_code error;
  fs::create_directories(to, error);
  if (error) return failed(to, error);
  std::vector<fs::path> files;
  auto entry = fs::directory_iterator(from, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const fs::path target = to / entry->path().filename();
    if (!entry->is_directory(error)) {
      files.push_back(entry->path());
      continue;
    }
    const fs::path unfinished = target.string() + std::string(kUnfinished);
    if (auto copied = copy_entries(entry->path(), unfinished, stop); !copied) return copied;
    fs::rename(unfinished, target, error);
    if (error) return failed(target, error);
  }
  if (error) return failed(from, error);
  // Last: a copy of a store is told by its format file, which stands beside the database.
  for (const fs::path& file : files) {
    if (auto copied = copy_file(file, to / file.filename(), stop); !copied) return copied;
  }
  return synced(Disk().sync_directory(to));
}

void clear(const fs::path& directory) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored))
    fs::remove_all(entry.path(), ignored);
}

}  // namespace

Outcome copy_directory(const std::string& from, const std::string& to,
                       const std::stop_token& stop) {
  std::error_code error;
  fs::create_directories(to, error);
  const bool is_empty = !error && fs::is_empty(to, error);
  if (error) return failed(to, error);
  if (!is_empty) return fail(fmt::format("cannot copy to {}: it is not empty; name another", to));
  Outcome copied = copy_entries(from, to, stop);
  if (copied) copied = synced(Disk().sync_directory((fs::path(to) / "..").lexically_normal()));
  if (!copied) clear(to);
  return copied;
}

}  // namespace harrier
