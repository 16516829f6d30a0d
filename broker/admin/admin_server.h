#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_map>

#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>

#include "base/result.h"
#include "base/task.h"
#include "broker/admin/admin_address.h"
#include "broker/admin/admin_connection.h"

namespace harrier {

// Makes the line of a reply; runs on the admin thread, where it may take a moment.
using AdminAnswer = UniqueFunction<std::string()>;
// Any thread, once, not after the server is destroyed.
using AdminReplyTo = UniqueFunction<void(AdminAnswer)>;
// Runs on the admin thread and must not block. `line` has no newline; it is valid in the call only.
using AdminHandler = std::function<void(std::string_view line, AdminReplyTo reply)>;

// Takes lines from the admin socket on a thread of its own and hands back one line for each. Who
// may open the socket's file, the broker's user, may ask.
class AdminServer {
 public:
  explicit AdminServer(AdminHandler handler, AdminLimits limits = {});
  ~AdminServer();
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  // Makes the socket, in place of the one a killed broker has left, and serves. The caller holds
  // the lock of the data directory. The error is one line.
  Result<void, std::string> open(const std::string& data_dir);
  // Ends all connections and removes the socket. Idempotent. What is replied later goes nowhere.
  void stop();

 private:
  using ConnectionId = std::uint64_t;
  using Socket = asio::local::stream_protocol::socket;

  std::error_code listen(const std::string& path);
  void accept();
  void admit(Socket socket);
  void ask(ConnectionId id, std::string_view line);

  const AdminHandler handler_;
  const AdminLimits limits_;
  std::optional<AdminAddress> address_;  // while the socket's file is ours
  asio::io_context io_{1};
  asio::local::stream_protocol::acceptor acceptor_{io_};
  asio::steady_timer retry_{io_};
  // The admin thread's; after it, stop()'s.
  std::unordered_map<ConnectionId, std::unique_ptr<AdminConnection>> connections_;
  ConnectionId last_id_ = 0;
  std::thread thread_;
};

}  // namespace harrier
