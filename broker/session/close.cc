// The only place where errors become close methods.

#include <utility>

#include "base/join.h"
#include "base/log.h"
#include "broker/session/channel.h"
#include "broker/session/connection.h"
#include "protocol/method_codec.h"

namespace harrier {
namespace {

constexpr Logger kLog("connection");

}  // namespace

void Connection::end_mute(std::string_view why) {
  kLog.warning("{}: refused before connection.open: {}", peer_.name, why);
  state_ = State::mute;
  deadline_ = shard().now() + kMuteFor;
}

void Connection::end_stream() {
  state_ = State::closed;
  deadline_ = kNoTime;
  transport_.close_after_flush();
}

void Connection::close(const ProtocolError& error, MethodId method) {
  if (state_ == State::closing || state_ == State::closed || state_ == State::mute) return;
  // RabbitMQ explains itself only to those who got as far as connection.open.
  if (state_ < State::open) return end_mute(reply_text(error));
  kLog.error("closing connection {}: {} ({})", peer_.name, reply_text(error),
             static_cast<int>(error.code));
  state_ = State::closing;
  release_all([this, error, method] { send_close(error, method); });
}

void Connection::send_close(const ProtocolError& error, MethodId method) {
  if (lost_) return;
  const MethodId blamed = error.method.value_or(method);
  const std::string text = reply_text(error);
  ConnectionClose close;
  close.reply_code = static_cast<std::uint16_t>(error.code);
  close.reply_text = text;
  close.class_id = blamed.class_id;
  close.method_id = blamed.method_id;
  send(0, close);
  if (state_ == State::closing) deadline_ = shard().now() + kCloseTimeout;
}

void Connection::fail_channel(ChannelNumber number, const ProtocolError& error, MethodId method) {
  Channel* channel = find_channel(number);
  if (is_connection_error(error.code) || channel == nullptr) return close(error, method);
  channel->fail(error, method);
}

void Channel::fail(const ProtocolError& error, MethodId method) {
  const std::string text = reply_text(error);
  kLog.error("channel {} of connection {}: {}", number_, connection_.peer().name, text);
  closing_ = true;
  connection_.pause();
  release([this, code = error.code, text, blamed = error.method.value_or(method)] {
    ChannelClose close;
    close.reply_code = static_cast<std::uint16_t>(code);
    close.reply_text = text;
    close.class_id = blamed.class_id;
    close.method_id = blamed.method_id;
    send(close);
    connection_.resume();
  });
}

void Channel::close_asked() {
  closing_ = true;
  connection_.pause();
  release([this] {
    send(ChannelCloseOk{});
    Connection& connection = connection_;
    connection.channel_closed(number_);  // ends this
    connection.resume();
  });
}

}  // namespace harrier
