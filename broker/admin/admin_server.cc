#include "broker/admin/admin_server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include <asio/buffer.hpp>
#include <asio/post.hpp>
#include <asio/socket_base.hpp>
#include <fmt/core.h>

#include "base/log.h"
#include "broker/admin/admin_message.h"

namespace harrier {
namespace {

constexpr Logger kLog("admin");

constexpr int kBacklog = 8;
// How long to wait when the process is out of file descriptors.
constexpr auto kRetryAfter = std::chrono::milliseconds(100);

bool is_socket(const std::string& path) {
  struct stat found {};

  return ::lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode);
}

}  // namespace

AdminServer::AdminServer(AdminHandler handler, AdminLimits limits)
    : handler_(std::move(handler)), limits_(limits) {}

AdminServer::~AdminServer() {
  stop();
}

Result<void, std::string> AdminServer::open(const std::string& data_dir) {
  auto address = AdminAddress::of(data_dir);
  std::error_code error;
  if (!address) {
    error = address.error();
  } else {
    error = listen(address->short_path());
  }
  if (error) {
    return fail(fmt::format("cannot make the admin socket {}/{}: {}", data_dir, kAdminSocketFile,
                            error.message()));
  }
  address_ = std::move(*address);
  accept();
  thread_ = std::thread([this] { io_.run(); });
  return {};
}

std::error_code AdminServer::listen(const std::string& path) {
  if (is_socket(path)) ::unlink(path.c_str());
  std::error_code error;
  acceptor_.open(asio::local::stream_protocol(), error);
  if (!error) acceptor_.bind(path, error);
  if (error) return error;
  // Nobody can connect before it listens: whatever the umask is, no stranger slips in.
  if (::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0) error.assign(errno, std::generic_category());
  if (!error) acceptor_.listen(kBacklog, error);
  if (error) ::unlink(path.c_str());
  return error;
}

void AdminServer::stop() {
  if (!address_) return;
  io_.stop();
  thread_.join();
  std::error_code ignored;
  acceptor_.close(ignored);
  connections_.clear();
  ::unlink(address_->short_path().c_str());
  address_.reset();
}

void AdminServer::accept() {
  acceptor_.async_accept([this](const std::error_code& error, Socket socket) {
    if (!error) {
      admit(std::move(socket));
      return accept();
    }
    kLog.error("cannot accept an admin connection: {}", error.message());
    retry_.expires_after(kRetryAfter);
    retry_.async_wait([this](const std::error_code&) { accept(); });
  });
}

void AdminServer::admit(Socket socket) {
  if (connections_.size() >= limits_.connections_max) {
    std::error_code ignored;
    socket.non_blocking(true, ignored);
    socket.send(asio::buffer(to_line(fail(std::string("too many admin connections; try later")))),
                0, ignored);
    return;
  }
  const ConnectionId id = ++last_id_;
  auto& connection = connections_[id];
  connection = std::make_unique<AdminConnection>(
      std::move(socket), limits_, [this, id](std::string_view line) { ask(id, line); });
  // Later, because it is the connection itself that tells.
  connection->start([this, id] { asio::post(io_, [this, id] { connections_.erase(id); }); });
}

void AdminServer::ask(ConnectionId id, std::string_view line) {
  handler_(line, [this, id](AdminAnswer answer) {
    asio::post(io_, [this, id, answer = std::move(answer)]() mutable {
      const std::string reply = answer();
      const auto asker = connections_.find(id);
      if (asker != connections_.end()) asker->second->answer(reply);
    });
  });
}

}  // namespace harrier
