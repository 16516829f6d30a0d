#pragma once

#include <string>
#include <string_view>
#include <system_error>

#include "base/result.h"

namespace harrier {

// The Unix socket in the data directory on which a running broker takes commands.
inline constexpr std::string_view kAdminSocketFile = "harrier.sock";

// The admin socket of one data directory, for bind() and for connect(). The address of a socket has
// room for 107 octets; a longer path is reached by way of the open directory. Move only.
class AdminAddress {
 public:
  // The error is that of opening the directory.
  static Result<AdminAddress, std::error_code> of(const std::string& data_dir);
  AdminAddress(AdminAddress&& other) noexcept;
  AdminAddress& operator=(AdminAddress&& other) noexcept;
  ~AdminAddress();

  // What messages call it.
  const std::string& path() const { return path_; }

  // The same file, always short enough; in this process, while the object lives.
  const std::string& short_path() const { return short_path_; }

 private:
  AdminAddress(std::string path, int directory);

  std::string path_;
  std::string short_path_;
  int directory_;  // open file
};

}  // namespace harrier
