#include "broker/admin/admin_connection.h"

#include <exception>
#include <system_error>
#include <utility>

#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/read_until.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <fmt/core.h>

#include "base/log.h"
#include "broker/admin/admin_message.h"

namespace harrier {
namespace {

constexpr Logger kLog("admin");

}  // namespace

AdminConnection::AdminConnection(Socket socket, const AdminLimits& limits, OnLine on_line)
    : socket_(std::move(socket)),
      limits_(limits),
      on_line_(std::move(on_line)),
      patience_(socket_.get_executor()),
      answered_(socket_.get_executor(), asio::steady_timer::time_point::max()) {}

void AdminConnection::start(std::function<void()> on_end) {
  asio::co_spawn(socket_.get_executor(), serve(),
                 [this, on_end = std::move(on_end)](const std::exception_ptr& failure) {
                   if (failure) kLog.critical("an admin connection ended with an exception");
                   close();
                   on_end();
                 });
}

asio::awaitable<void> AdminConnection::serve() {
  for (;;) {
    const bool asked = co_await receive();
    if (!asked) co_return;
    const bool sent = co_await send();
    if (!sent) co_return;
  }
}

// Until there is an answer to the next request.
asio::awaitable<bool> AdminConnection::receive() {
  std::error_code error;
  close_after_patience();
  const std::size_t size =
      co_await asio::async_read_until(socket_, asio::dynamic_buffer(input_, limits_.line_bytes_max),
                                      '\n', asio::redirect_error(asio::use_awaitable, error));
  patience_.cancel();
  if (error == asio::error::not_found) {
    too_long_ = true;
    answer(to_line(fail(fmt::format("a request has at most {} octets", limits_.line_bytes_max))));
    co_return true;
  }
  if (error) co_return false;
  const std::string line = input_.substr(0, size - 1);
  input_.erase(0, size);
  on_line_(line);
  while (!answer_)
    co_await answered_.async_wait(asio::redirect_error(asio::use_awaitable, error));
  co_return true;
}

asio::awaitable<bool> AdminConnection::send() {
  const std::string line = *std::exchange(answer_, std::nullopt);
  std::error_code error;
  close_after_patience();
  co_await asio::async_write(socket_, asio::buffer(line),
                             asio::redirect_error(asio::use_awaitable, error));
  patience_.cancel();
  co_return !error && !too_long_;
}

void AdminConnection::answer(std::string line) {
  answer_ = std::move(line);
  answered_.cancel();
}

void AdminConnection::close_after_patience() {
  patience_.expires_after(limits_.patience);
  patience_.async_wait([this](const std::error_code& cancelled) {
    if (!cancelled) close();
  });
}

void AdminConnection::close() {
  std::error_code ignored;
  socket_.close(ignored);
  patience_.cancel();
}

}  // namespace harrier
