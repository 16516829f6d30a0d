#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

#include "base/bytes.h"
#include "base/clock.h"
#include "broker/runtime/shard.h"
#include "broker/session/sessions.h"

namespace harrier {

class SocketConnection;

// The thread of one shard: its event loop, its sockets, and the place where turns begin and end.
class ShardServer {
 public:
  ShardServer(Shard& shard, Sessions& sessions);
  ~ShardServer();
  ShardServer(const ShardServer&) = delete;
  ShardServer& operator=(const ShardServer&) = delete;

  // Any thread.
  asio::io_context& io() { return io_; }

  void start();

  // Runs `task` in a turn of the shard.
  void post(Task task) { shard_.post(std::move(task)); }

  // Ends the loop after the present turn and waits for the thread.
  void stop();

  // The shard's thread only.
  Shard& shard() { return shard_; }

  Sessions& sessions() { return sessions_; }

  void serve(asio::ip::tcp::socket socket);
  void remove(SocketConnection& connection);

  // Where every connection reads into; what must stay it copies.
  Buffer& read_scratch() { return read_scratch_; }

 private:
  // Handlers run in one turn at most: what the first of them produced must not wait for long.
  static constexpr int kHandlersPerTurn = 64;

  void run();
  void schedule_tick();
  void arm_timer();

  Shard& shard_;
  Sessions& sessions_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::steady_timer tick_;
  asio::steady_timer timer_;  // of the shard's queues
  Timestamp armed_for_ = Timestamp::max();
  std::unordered_map<SocketConnection*, std::unique_ptr<SocketConnection>> connections_;
  Buffer read_scratch_;
  std::thread thread_;
};

}  // namespace harrier
