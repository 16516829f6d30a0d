#include "broker/session/listener.h"

#include <chrono>
#include <memory>
#include <utility>

#include <asio/post.hpp>
#include <asio/socket_base.hpp>
#include <fmt/core.h>

#include "base/log.h"

namespace harrier {
namespace {

constexpr Logger kLog("listener");

// How long to wait when the process is out of file descriptors.
constexpr auto kRetryAfter = std::chrono::milliseconds(100);

void apply(const TcpOptions& options, asio::ip::tcp::socket& socket) {
  asio::error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay(options.nodelay), ignored);
  if (options.keepalive) socket.set_option(asio::socket_base::keep_alive(true), ignored);
  if (options.sndbuf_bytes > 0) {
    socket.set_option(asio::socket_base::send_buffer_size(static_cast<int>(options.sndbuf_bytes)),
                      ignored);
  }
  if (options.recbuf_bytes > 0) {
    socket.set_option(
        asio::socket_base::receive_buffer_size(static_cast<int>(options.recbuf_bytes)), ignored);
  }
  if (options.linger && options.linger_s > 0) {
    socket.set_option(asio::socket_base::linger(true, static_cast<int>(options.linger_s)), ignored);
  }
}

}  // namespace

Listener::Listener(std::vector<ShardServer*> servers, const SessionConfig& config)
    : servers_(std::move(servers)), config_(config) {}

Result<void, std::string> Listener::open() {
  for (const ListenerAddress& address : config_.listeners) {
    if (auto opened = open(address); !opened) return opened;
  }
  return {};
}

Result<void, std::string> Listener::open(const ListenerAddress& address) {
  asio::error_code error;
  const std::string text = address.address.empty() ? "::" : address.address;
  auto ip = asio::ip::make_address(text, error);
  const auto failed = [&](const char* what) {
    return fail(fmt::format("cannot {} {}:{}: {}; choose another with listeners.tcp.default", what,
                            address.address, address.port, error.message()));
  };
  if (error) return failed("understand the address");
  const asio::ip::tcp::endpoint endpoint(ip, address.port);
  auto port = std::make_unique<Port>(servers_.front()->io());
  port->acceptor.open(endpoint.protocol(), error);
  if (error) return failed("open a socket for");
  port->acceptor.set_option(asio::socket_base::reuse_address(true), error);
  port->acceptor.bind(endpoint, error);
  if (error) return failed("listen on");
  port->acceptor.listen(static_cast<int>(config_.tcp.backlog), error);
  if (error) return failed("listen on");
  ports_.push_back(std::move(port));
  return {};
}

void Listener::start() {
  for (auto& port : ports_)
    accept(*port);
}

void Listener::accept(Port& port) {
  ShardServer& server = *servers_[next_++ % servers_.size()];
  port.acceptor.async_accept(server.io(), [this, &port, &server](const asio::error_code& error,
                                                                 asio::ip::tcp::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      accepted(std::move(socket), server);
      return accept(port);
    }
    kLog.error("cannot accept a connection: {}; raise the limit of open files (ulimit -n)",
               error.message());
    port.retry.expires_after(kRetryAfter);
    port.retry.async_wait([this, &port](const asio::error_code& stopped) {
      if (!stopped) accept(port);
    });
  });
}

void Listener::accepted(asio::ip::tcp::socket socket, ShardServer& server) {
  apply(config_.tcp, socket);
  if (&server == servers_.front()) return server.serve(std::move(socket));
  asio::post(server.io(),
             [&server, socket = std::move(socket)]() mutable { server.serve(std::move(socket)); });
}

void Listener::stop() {
  asio::post(servers_.front()->io(), [this] {
    for (auto& port : ports_) {
      asio::error_code ignored;
      port->acceptor.close(ignored);
      port->retry.cancel();
    }
  });
}

std::vector<std::string> Listener::addresses() const {
  std::vector<std::string> texts;
  for (const auto& port : ports_) {
    const auto endpoint = port->acceptor.local_endpoint();
    texts.push_back(fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port()));
  }
  return texts;
}

}  // namespace harrier
