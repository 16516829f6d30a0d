#include "storage/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/core.h>

namespace harrier {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLockFile = "harrier.lock";

StoreError unusable(const std::string& path, std::string_view problem, int error) {
  const auto kind = error == ENOSPC ? StoreError::Kind::no_space : StoreError::Kind::unusable;
  return {kind, fmt::format("{} {}: {}", path, problem, std::generic_category().message(error))};
}

std::string holder(int lock) {
  char octets[32] = {};
  const ssize_t size = ::pread(lock, octets, sizeof(octets) - 1, 0);
  std::string pid(octets, size > 0 ? static_cast<std::size_t>(size) : 0);
  while (!pid.empty() && pid.back() == '\n')
    pid.pop_back();
  return pid.empty() ? "unknown" : pid;
}

bool write_all(int file, std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t written = ::write(file, octets.data(), octets.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    octets.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// The lowest directory above `path` that is there; `path` itself if it is.
fs::path existing_part(fs::path path) {
  std::error_code ignored;
  while (!fs::exists(path, ignored) && path.has_relative_path())
    path = path.parent_path();
  return path;
}

// Makes a directory and those above it, which all survive a power loss then.
Result<void, StoreError> make_directories(const std::string& name, const Disk& disk) {
  std::error_code error;
  const fs::path path = fs::absolute(name, error).lexically_normal();
  const fs::path known = existing_part(path);
  if (!error) fs::create_directories(path, error);
  if (error) return fail(unusable("data directory " + name, "cannot be made", error.value()));
  for (fs::path made = path; made != known; made = made.parent_path()) {
    if (auto synced = disk.sync_directory(made.parent_path()); !synced) return synced;
  }
  return {};
}

}  // namespace

Result<DataDir, StoreError> DataDir::open(std::string path, Disk disk) {
  if (auto made = make_directories(path, disk); !made) return fail(made.error());
  const std::string lock_path = path + "/" + std::string(kLockFile);
  const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0)
    return fail(unusable("data directory " + path, "cannot be written by this user", errno));
  DataDir directory(std::move(path), std::move(disk), lock);
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) return fail(directory.in_use());
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(lock, 0) != 0 || !write_all(lock, pid)) {
    return fail(unusable("data directory " + directory.path_, "cannot be written", errno));
  }
  return directory;
}

Result<DataDir, StoreError> DataDir::open_to_read(std::string path) {
  const std::string lock_path = path + "/" + std::string(kLockFile);
  const int lock = ::open(lock_path.c_str(), O_RDONLY | O_CLOEXEC);
  if (lock < 0 && errno != ENOENT)
    return fail(unusable("data directory " + path, "cannot be read by this user", errno));
  DataDir directory(std::move(path), Disk(), lock);
  if (lock >= 0 && ::flock(lock, LOCK_SH | LOCK_NB) != 0) return fail(directory.in_use());
  return directory;
}

StoreError DataDir::in_use() const {
  // A shared lock is there beside others of its kind only.
  const bool is_only_read = ::flock(lock_, LOCK_SH | LOCK_NB) == 0;
  return {StoreError::Kind::locked,
          is_only_read
              ? fmt::format("data directory {} is being read by harrierd --check-data", path_)
              : fmt::format("data directory {} is in use by another harrierd (pid {})", path_,
                            holder(lock_))};
}

DataDir::DataDir(DataDir&& other) noexcept
    : path_(std::move(other.path_)),
      disk_(std::move(other.disk_)),
      lock_(std::exchange(other.lock_, -1)) {}

DataDir& DataDir::operator=(DataDir&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(disk_, other.disk_);
  std::swap(lock_, other.lock_);
  return *this;
}

DataDir::~DataDir() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace harrier
