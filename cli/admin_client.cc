#include "cli/admin_client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include <fmt/core.h>

#include "broker/admin/admin_address.h"
#include "cli/commands.h"

namespace harrier {
namespace {

constexpr std::size_t kReplyBytesMax = std::size_t{1} << 20;

class Descriptor {
 public:
  explicit Descriptor(int file) : file_(file) {}

  ~Descriptor() {
    if (file_ >= 0) ::close(file_);
  }

  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return file_; }

 private:
  int file_;
};

NoAnswer not_running(const std::string& data_dir, int error) {
  if (error == EACCES || error == EPERM) {
    return {fmt::format("may not talk to the broker on {}; become the user it runs as", data_dir),
            kExitFailed};
  }
  return {fmt::format("no broker runs on the data directory {} ({}/{}: {}); start it or name "
                      "another with --data-dir",
                      data_dir, data_dir, kAdminSocketFile, std::generic_category().message(error)),
          kExitNoBroker};
}

bool connect_to(int socket, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

// Where that fails the reply, or its absence, tells why.
void send_all(int socket, std::string_view octets) {
  while (!octets.empty()) {
    const ssize_t sent = ::send(socket, octets.data(), octets.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return;
    octets.remove_prefix(static_cast<std::size_t>(sent));
  }
}

// Without the newline; empty when the peer ended before it came.
std::string read_line(int socket) {
  std::string line;
  char chunk[4096];
  while (line.size() < kReplyBytesMax) {
    const ssize_t count = ::recv(socket, chunk, sizeof(chunk), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return {};
    line.append(chunk, static_cast<std::size_t>(count));
    const std::size_t end = line.find('\n');
    if (end != std::string::npos) return line.substr(0, end);
  }
  return {};
}

}  // namespace

Result<std::string, NoAnswer> ask_broker(const std::string& data_dir, std::string_view line) {
  const auto address = AdminAddress::of(data_dir);
  if (!address) return fail(not_running(data_dir, address.error().value()));
  const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0 || !connect_to(socket.get(), address->short_path())) {
    return fail(not_running(data_dir, errno));
  }
  send_all(socket.get(), std::string(line) + "\n");
  std::string reply = read_line(socket.get());
  if (reply.empty()) {
    return fail(
        NoAnswer{fmt::format("the broker on {} ended before it answered; see its log", data_dir),
                 kExitFailed});
  }
  return reply;
}

}  // namespace harrier
