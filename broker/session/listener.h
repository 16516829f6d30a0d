#pragma once

#include <memory>
#include <string>
#include <vector>

#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

#include "base/result.h"
#include "broker/session/session_config.h"
#include "broker/session/shard_server.h"

namespace harrier {

// Accepts AMQP connections on the configured addresses and deals them out to the shards in turn.
// Runs on the loop of the first shard.
class Listener {
 public:
  Listener(std::vector<ShardServer*> servers, const SessionConfig& config);

  // Binds every address, before the loops run. The error is one line that names the address.
  Result<void, std::string> open();
  void start();
  // Any thread: no connection is accepted any more.
  void stop();

  // "127.0.0.1:5672", with the port the kernel chose where 0 was configured.
  std::vector<std::string> addresses() const;

 private:
  struct Port {
    explicit Port(asio::io_context& io) : acceptor(io), retry(io) {}

    asio::ip::tcp::acceptor acceptor;
    asio::steady_timer retry;
  };

  Result<void, std::string> open(const ListenerAddress& address);
  void accept(Port& port);
  void accepted(asio::ip::tcp::socket socket, ShardServer& server);

  std::vector<ShardServer*> servers_;
  const SessionConfig& config_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::size_t next_ = 0;
};

}  // namespace harrier
