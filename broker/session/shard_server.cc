#include "broker/session/shard_server.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <asio/post.hpp>

#include "broker/session/socket_connection.h"

namespace harrier {

ShardServer::ShardServer(Shard& shard, Sessions& sessions)
    : shard_(shard), sessions_(sessions), work_(io_.get_executor()), tick_(io_), timer_(io_) {
  shard_.set_waker([this] {
    asio::post(io_, [this] {
      shard_.begin_turn();
      shard_.run_mailbox();
    });
  });
}

ShardServer::~ShardServer() {
  stop();
}

void ShardServer::start() {
  schedule_tick();
  thread_ = std::thread([this] { run(); });
}

void ShardServer::stop() {
  work_.reset();
  io_.stop();
  if (thread_.joinable()) thread_.join();
}

void ShardServer::run() {
  while (io_.run_one() > 0) {
    for (int handlers = 1; handlers < kHandlersPerTurn && io_.poll_one() > 0; ++handlers) {
    }
    shard_.end_turn();
    arm_timer();
  }
}

// One timer for all that the shard's queues wait for.
void ShardServer::arm_timer() {
  const auto due = shard_.next_deadline();
  if (!due || *due >= armed_for_) return;
  armed_for_ = *due;
  // What was recovered is due from the begin of time on, which no difference can express.
  timer_.expires_after(std::max(*due, shard_.now()) - shard_.now());
  timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;  // armed for an earlier time
    armed_for_ = Timestamp::max();
    shard_.begin_turn();
    shard_.run_timers();
  });
}

void ShardServer::schedule_tick() {
  tick_.expires_after(std::chrono::milliseconds(Sessions::kTickMs));
  tick_.async_wait([this](const asio::error_code& error) {
    if (error) return;
    shard_.begin_turn();
    sessions_.tick();
    schedule_tick();
  });
}

void ShardServer::serve(asio::ip::tcp::socket socket) {
  shard_.begin_turn();
  auto connection = SocketConnection::create(*this, std::move(socket));
  if (connection == nullptr) return;  // gone before it was looked at
  SocketConnection& started = *connection;
  connections_.emplace(&started, std::move(connection));
  started.start();
}

void ShardServer::remove(SocketConnection& connection) {
  // Later, because the caller is the connection itself.
  asio::post(io_, [this, gone = &connection] { connections_.erase(gone); });
}

}  // namespace harrier
