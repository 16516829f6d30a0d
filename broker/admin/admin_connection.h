#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <asio/awaitable.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>

namespace harrier {

struct AdminLimits {
  std::size_t connections_max = 8;
  std::size_t line_bytes_max = std::size_t{64} * 1024;  // of a request, with its newline
  // For the next request to come whole, and for a reply to be taken.
  std::chrono::milliseconds patience{10'000};
};

// One peer on the admin socket: a request, its reply, the next request. Lives on the admin thread.
class AdminConnection {
 public:
  using Socket = asio::local::stream_protocol::socket;
  using OnLine = std::function<void(std::string_view line)>;

  // `on_line` gets each request without its newline; answer() has to follow before the next one is
  // looked at.
  AdminConnection(Socket socket, const AdminLimits& limits, OnLine on_line);

  // Serves until the peer leaves, errs or is too slow. After `on_end` nothing of it runs any more.
  void start(std::function<void()> on_end);
  // `line` ends with a newline.
  void answer(std::string line);

 private:
  asio::awaitable<void> serve();
  asio::awaitable<bool> receive();
  asio::awaitable<bool> send();
  void close_after_patience();
  void close();

  Socket socket_;
  const AdminLimits& limits_;
  const OnLine on_line_;
  asio::steady_timer patience_;
  asio::steady_timer answered_;  // never expires; cancelled when `answer_` is there
  std::string input_;
  std::optional<std::string> answer_;
  bool too_long_ = false;  // a request was: where the next one begins cannot be told
};

}  // namespace harrier
