#pragma once

#include <cstddef>
#include <memory>

#include <asio/awaitable.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

#include "base/bytes.h"
#include "broker/session/connection.h"
#include "broker/session/shard_server.h"
#include "broker/session/transport.h"

namespace harrier {

// A TCP socket and the Connection on it. One coroutine reads: it wakes once per chunk, all frames
// of which are handled before it waits again. An idle connection holds no buffer.
class SocketConnection final : public Transport {
 public:
  // Null when the peer has left already.
  static std::unique_ptr<SocketConnection> create(ShardServer& server,
                                                  asio::ip::tcp::socket socket);
  SocketConnection(ShardServer& server, asio::ip::tcp::socket socket, Peer peer);

  void start();

  void flush() override;
  void resume_reading() override;
  void close_after_flush() override;

 private:
  asio::awaitable<void> read_loop();
  // Takes what the socket has; false when it is at its end.
  bool read_chunk();
  // Hands `octets` to the connection, and what it leaves to rest_.
  void feed(ByteView octets);
  void feed_rest();
  void send_output();
  void await_writable();
  void close_socket();

  ShardServer& server_;
  asio::ip::tcp::socket socket_;
  Buffer rest_;  // received and not handled yet
  bool writing_ = false;
  bool closing_ = false;
  asio::steady_timer wake_reader_;  // never expires: cancelled to end a pause
  asio::steady_timer close_timer_;
  Connection connection_;
};

}  // namespace harrier
