#include "broker/admin/admin_address.h"

#include <fcntl.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/core.h>

namespace harrier {

Result<AdminAddress, std::error_code> AdminAddress::of(const std::string& data_dir) {
  const int directory = ::open(data_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return fail(std::error_code(errno, std::generic_category()));
  return AdminAddress(fmt::format("{}/{}", data_dir, kAdminSocketFile), directory);
}

AdminAddress::AdminAddress(std::string path, int directory)
    : path_(std::move(path)), short_path_(path_), directory_(directory) {
  if (path_.size() >= sizeof(sockaddr_un::sun_path)) {
    short_path_ = fmt::format("/proc/self/fd/{}/{}", directory_, kAdminSocketFile);
  }
}

AdminAddress::AdminAddress(AdminAddress&& other) noexcept
    : path_(std::move(other.path_)),
      short_path_(std::move(other.short_path_)),
      directory_(std::exchange(other.directory_, -1)) {}

AdminAddress& AdminAddress::operator=(AdminAddress&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(short_path_, other.short_path_);
  std::swap(directory_, other.directory_);
  return *this;
}

AdminAddress::~AdminAddress() {
  if (directory_ >= 0) ::close(directory_);
}

}  // namespace harrier
