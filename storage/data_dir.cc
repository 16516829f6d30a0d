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

// Opens `path` to sync it.
Result<void, StoreError> sync_path(const std::string& path, int flags) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  if (file < 0) return fail(unusable(path, "cannot be opened", errno));
  const bool synced = ::fsync(file) == 0;
  const int error = errno;
  ::close(file);
  if (!synced) return fail(unusable(path, "cannot be synced", error));
  return {};
}

}  // namespace

Result<DataDir, StoreError> DataDir::open(std::string path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail(unusable("data directory " + path, "cannot be made", error.value()));
  const std::string lock_path = path + "/" + std::string(kLockFile);
  const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0)
    return fail(unusable("data directory " + path, "cannot be written by this user", errno));
  DataDir directory(std::move(path), lock);
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    return fail(StoreError{StoreError::Kind::locked,
                           fmt::format("data directory {} is in use by another harrierd (pid {})",
                                       directory.path_, holder(lock))});
  }
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(lock, 0) != 0 || !write_all(lock, pid)) {
    return fail(unusable("data directory " + directory.path_, "cannot be written", errno));
  }
  return directory;
}

DataDir::DataDir(DataDir&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

DataDir& DataDir::operator=(DataDir&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  return *this;
}

DataDir::~DataDir() {
  if (lock_ >= 0) ::close(lock_);
}

Result<void, StoreError> replace_file(const std::string& path, std::string_view content) {
  const std::string fresh = path + ".new";
  const int file = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return fail(unusable(path, "cannot be written", errno));
  const bool written = write_all(file, content) && ::fsync(file) == 0;
  const int error = errno;
  ::close(file);
  if (!written) return fail(unusable(path, "cannot be written", error));
  if (::rename(fresh.c_str(), path.c_str()) != 0) {
    return fail(unusable(path, "cannot be replaced", errno));
  }
  return sync_directory(std::filesystem::path(path).parent_path());
}

Result<void, StoreError> sync_directory(const std::string& path) {
  return sync_path(path, O_DIRECTORY);
}

Result<void, StoreError> sync_file(const std::string& path) {
  return sync_path(path, 0);
}

}  // namespace harrier
