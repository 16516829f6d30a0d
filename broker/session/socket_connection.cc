#include "broker/session/socket_connection.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <exception>
#include <utility>

#include <asio/co_spawn.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <fmt/core.h>

#include "base/log.h"

namespace harrier {
namespace {

constexpr Logger kLog("connection");

// Enough for one frame of the default frame_max and most of a second.
constexpr std::size_t kReadBytes = std::size_t{256} * 1024;
// What one connection may send before others have their turn.
constexpr std::size_t kSendPerTurn = std::size_t{2} << 20;
// How long a peer that does not read may delay the end of its connection.
constexpr auto kLastWrite = std::chrono::seconds(5);

std::string endpoint_text(const asio::ip::tcp::endpoint& endpoint) {
  return fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

// A dual-stack listener shows IPv4 peers as ::ffff:127.0.0.1.
bool is_loopback(const asio::ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
  }
  return address.is_loopback();
}

}  // namespace

std::unique_ptr<SocketConnection> SocketConnection::create(ShardServer& server,
                                                           asio::ip::tcp::socket socket) {
  asio::error_code gone;
  const auto remote = socket.remote_endpoint(gone);
  if (gone) return nullptr;
  const auto local = socket.local_endpoint(gone);
  if (gone) return nullptr;
  Peer peer;
  peer.name = endpoint_text(remote) + " -> " + endpoint_text(local);
  peer.loopback = is_loopback(remote.address());
  return std::make_unique<SocketConnection>(server, std::move(socket), std::move(peer));
}

SocketConnection::SocketConnection(ShardServer& server, asio::ip::tcp::socket socket, Peer peer)
    : server_(server),
      socket_(std::move(socket)),
      wake_reader_(server.io(), asio::steady_timer::time_point::max()),
      close_timer_(server.io()),
      connection_(server.sessions(), *this, std::move(peer)) {
  asio::error_code ignored;
  socket_.non_blocking(true, ignored);
}

void SocketConnection::start() {
  asio::co_spawn(server_.io(), read_loop(), [this](const std::exception_ptr& failure) {
    if (failure) kLog.critical("reading {} ended with an exception", connection_.peer().name);
    close_socket();
    server_.shard().begin_turn();
    connection_.lost([this] { server_.remove(*this); });
  });
}

asio::awaitable<void> SocketConnection::read_loop() {
  asio::error_code error;
  auto resume_here = asio::redirect_error(asio::use_awaitable, error);
  while (socket_.is_open()) {
    if (connection_.paused()) {
      co_await wake_reader_.async_wait(resume_here);
      if (!socket_.is_open()) break;
      server_.shard().begin_turn();
      feed_rest();
      continue;
    }
    co_await socket_.async_wait(asio::ip::tcp::socket::wait_read, resume_here);
    if (error || !socket_.is_open()) break;
    server_.shard().begin_turn();
    if (!read_chunk()) break;
  }
}

bool SocketConnection::read_chunk() {
  // A frame larger than the scratch grows in rest_, by what has come and not by what it claims.
  const bool large = connection_.needed() > kReadBytes;
  Buffer& buffer = large ? rest_ : server_.read_scratch();
  if (!large) {
    buffer.clear();
    buffer.append(rest_.view());
    rest_.clear();
  }
  const std::size_t before = buffer.size();
  buffer.reserve(before + kReadBytes);
  const ssize_t count =
      ::recv(socket_.native_handle(), buffer.data() + before, buffer.capacity() - before, 0);
  if (count == 0) return false;
  if (count < 0) {
    if (!large) rest_.append(buffer.view());
    return errno == EAGAIN || errno == EINTR;
  }
  buffer.extend(static_cast<std::size_t>(count));
  if (large) {
    feed_rest();
  } else {
    feed(buffer.view());
  }
  return true;
}

void SocketConnection::feed(ByteView octets) {
  const std::size_t taken = connection_.receive(octets);
  rest_.append(octets.substr(taken));
  if (rest_.empty() && rest_.capacity() > 0) rest_.reset();
}

void SocketConnection::feed_rest() {
  if (rest_.size() < connection_.needed()) return;
  const Buffer octets = std::exchange(rest_, Buffer());
  feed(octets.view());
}

void SocketConnection::resume_reading() {
  wake_reader_.cancel();
}

void SocketConnection::flush() {
  if (writing_ || !socket_.is_open()) return;
  send_output();
}

void SocketConnection::send_output() {
  std::array<iovec, 64> pieces{};
  OutputBuffer& output = connection_.output();
  std::size_t sent = 0;
  while (!output.empty()) {
    // A fast reader of a long queue must not keep the turn from ending.
    if (sent >= kSendPerTurn) return await_writable();
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = output.gather(pieces);
    const ssize_t count = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return await_writable();
    if (count < 0) return close_socket();
    sent += static_cast<std::size_t>(count);
    output.consume(static_cast<std::size_t>(count));
    connection_.output_sent();
  }
  if (closing_) close_socket();
}

void SocketConnection::await_writable() {
  writing_ = true;
  socket_.async_wait(asio::ip::tcp::socket::wait_write, [this](const asio::error_code& error) {
    writing_ = false;
    if (error || !socket_.is_open()) return;
    server_.shard().begin_turn();
    send_output();
  });
}

void SocketConnection::close_after_flush() {
  if (std::exchange(closing_, true)) return;
  close_timer_.expires_after(kLastWrite);
  close_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) close_socket();
  });
  if (connection_.output().empty()) {
    close_socket();
  } else {
    connection_.output_changed();
  }
}

void SocketConnection::close_socket() {
  if (!socket_.is_open()) return;
  asio::error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  wake_reader_.cancel();
  close_timer_.cancel();
}

}  // namespace harrier
