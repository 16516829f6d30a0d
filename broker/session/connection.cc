#include "broker/session/connection.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/join.h"
#include "base/log.h"
#include "broker/runtime/broker.h"
#include "broker/session/channel.h"
#include "broker/session/handshake.h"
#include "broker/session/session_events.h"
#include "protocol/method_codec.h"

namespace harrier {
namespace {

constexpr Logger kLog("connection");

ProtocolError expected_open(MethodId method) {
  return {ReplyCode::channel_error, "expected 'channel.open'", method};
}

}  // namespace

Connection::Connection(Sessions& sessions, Transport& transport, Peer peer)
    : sessions_(sessions),
      transport_(transport),
      id_(ConnectionId{sessions.shard().next_number()}),
      peer_(std::move(peer)),
      frame_max_(sessions.config().initial_frame_max) {
  deadline_ = shard().now() + Milliseconds(sessions.config().handshake_timeout_ms);
  sessions_.add(*this);
  kLog.info("accepting AMQP connection {}", peer_.name);
}

Connection::~Connection() {
  shard().forget(*this);
  sessions_.remove(*this);
}

std::size_t Connection::receive(ByteView input) {
  heard_ = true;
  std::size_t taken = 0;
  needed_ = 0;
  while (!paused()) {
    const ByteView rest = input.substr(taken);
    if (state_ == State::mute || state_ == State::closed) return input.size();
    if (state_ == State::protocol_header) {
      const std::size_t header = receive_protocol_header(rest);
      if (header == 0) break;
      taken += header;
      continue;
    }
    const FrameParse parse = parse_frame(rest, frame_max_);
    if (parse.status == FrameStatus::need_more) {
      needed_ = parse.needed;
      break;
    }
    if (parse.status == FrameStatus::error) {
      // Frames can no longer be told apart, so the peer's close-ok will not be understood either.
      close(frame_error(parse, frame_max_), MethodId{});
      if (state_ == State::closing) {
        state_ = State::mute;
        deadline_ = shard().now() + kMuteFor;
      }
      return input.size();
    }
    taken += parse.consumed;
    on_frame(parse.frame);
    if (output_.answers() >= kOutputHighBytes) output_full_ = true;
  }
  return taken;
}

std::size_t Connection::receive_protocol_header(ByteView input) {
  // RabbitMQ also takes the header of AMQP 0-9, which early clients sent.
  constexpr ByteView kHeader09{"AMQP\x01\x01\x00\x09", 8};
  const ByteView header = input.substr(0, kProtocolHeader.size());
  const bool could_be = kProtocolHeader.starts_with(header) || kHeader09.starts_with(header);
  if (could_be && header.size() < kProtocolHeader.size()) return 0;
  if (!could_be) {
    // AMQP 0-9-1 section 4.2.2: answer with the version we speak and end.
    kLog.warning("{}: not an AMQP 0-9-1 client, its first octets are no protocol header",
                 peer_.name);
    output_.tail().append(kProtocolHeader);
    output_changed();
    end_stream();
    return header.size();
  }
  send_start();
  return header.size();
}

void Connection::on_frame(const Frame& frame) {
  if (state_ == State::closing) return on_frame_while_closing(frame);
  if (frame.type == FrameType::heartbeat) {
    if (frame.channel != 0) close(unexpected_frame(frame), MethodId{});
    return;
  }
  if (frame.channel == 0) {
    if (frame.type != FrameType::method) return close(unexpected_frame(frame), MethodId{});
    return on_connection_method(frame.payload);
  }
  if (state_ != State::running) return end_mute("a frame on a channel before connection.open");
  on_channel_frame(frame);
}

void Connection::on_frame_while_closing(const Frame& frame) {
  if (frame.type != FrameType::method || frame.channel != 0) return;
  const MethodId method = peek_method_id(frame.payload);
  if (method == ConnectionClose::kId) {
    send(0, ConnectionCloseOk{});
  } else if (method == ConnectionCloseOk::kId) {
    end_stream();
  }
}

void Connection::on_channel_frame(const Frame& frame) {
  if (Channel* channel = find_channel(frame.channel)) {
    channel->on_frame(frame);
    if (sessions_.alarms().any() && frame.type != FrameType::method) block();
    return;
  }
  if (frame.type != FrameType::method) {
    return close({ReplyCode::unexpected_frame,
                  "expected method frame, got non method frame instead", MethodId{}},
                 MethodId{});
  }
  if (peek_method_id(frame.payload) == ChannelOpen::kId) return open_channel(frame);
  const MethodId method = peek_method_id(frame.payload);
  close(expected_open(method), method);
}

void Connection::open_channel(const Frame& frame) {
  // channel_max counts channels open at once, not channel numbers.
  if (channel_max_ != 0 && channels_.size() >= channel_max_) {
    return close({ReplyCode::not_allowed,
                  fmt::format("number of channels opened ({}) has reached the negotiated "
                              "channel_max ({})",
                              channels_.size(), channel_max_),
                  MethodId{}},
                 MethodId{});
  }
  if (const auto limit = permit_.open_channel()) {
    return close({ReplyCode::not_allowed,
                  fmt::format("number of channels opened for user '{}' has reached the maximum "
                              "allowed user limit of ({})",
                              user_->name, *limit),
                  MethodId{}},
                 MethodId{});
  }
  const auto opened =
      channels_.emplace(frame.channel, std::make_unique<Channel>(*this, frame.channel));
  const DecodeStatus status = visit_method(frame.payload, [](const auto&) {});
  if (status != DecodeStatus::ok) return close(decode_error(status, frame.payload), MethodId{});
  opened.first->second->send(ChannelOpenOk{});
  announce_opened(*opened.first->second);
}

Channel* Connection::find_channel(ChannelNumber number) {
  if (last_channel_ != nullptr && last_channel_->number() == number) return last_channel_;
  const auto found = channels_.find(number);
  if (found == channels_.end()) return nullptr;
  last_channel_ = found->second.get();
  return last_channel_;
}

void Connection::channel_closed(ChannelNumber number) {
  last_channel_ = nullptr;
  const auto found = channels_.find(number);
  if (found == channels_.end()) return;
  std::erase(confirming_, found->second.get());
  std::erase(waiting_for_room_, found->second.get());
  announce_closed(*found->second);
  channels_.erase(found);
  permit_.close_channel();
}

void Connection::confirms_ready(Channel& channel) {
  if (std::find(confirming_.begin(), confirming_.end(), &channel) == confirming_.end()) {
    confirming_.push_back(&channel);
  }
  shard().at_turn_end(*this);
}

void Connection::wants_room(Channel& channel) {
  if (std::find(waiting_for_room_.begin(), waiting_for_room_.end(), &channel) ==
      waiting_for_room_.end()) {
    waiting_for_room_.push_back(&channel);
  }
}

void Connection::end_of_turn() {
  for (Channel* channel : confirming_)
    channel->send_confirms();
  confirming_.clear();
  if (!output_.empty()) transport_.flush();
}

void Connection::output_sent() {
  last_sent_ = shard().now();
  busy_ = true;
  if (output_.size() > kOutputLowBytes) return;
  if (std::exchange(output_full_, false) && !paused()) transport_.resume_reading();
  if (waiting_for_room_.empty()) return;
  std::vector<Channel*> waiting;
  waiting.swap(waiting_for_room_);
  for (Channel* channel : waiting)
    channel->resume_consumers();
}

void Connection::own_exclusive(const QueueDefinition& queue) {
  exclusive_.emplace(queue.id, queue);
  if (exclusive_.size() < exclusive_sweep_at_) return;
  std::erase_if(exclusive_, [this](const auto& owned) {
    const QueueHandle* found = vhost_->find_queue(owned.second.name);
    return found == nullptr || found->id() != owned.first;
  });
  exclusive_sweep_at_ = std::max(kExclusiveSweepMin, exclusive_.size() * 2);
}

void Connection::resume() {
  HARRIER_CHECK(pauses_ > 0);
  if (--pauses_ > 0) return;
  if (when_resumed_) {
    std::exchange(when_resumed_, Task())();
  } else if (!paused()) {
    transport_.resume_reading();
  }
}

// As RabbitMQ: nothing more is read of a connection that published during an alarm, not even what
// has nothing to do with publishing, until all alarms have ended.
void Connection::block() {
  if (blocked_ || state_ != State::running) return;
  blocked_ = true;
  pause();
  if (!wants_blocked_) return;
  ConnectionBlocked blocked;
  blocked.reason = blocked_reason(sessions_.alarms());
  send(0, blocked);
}

void Connection::unblock() {
  if (!std::exchange(blocked_, false)) return;
  if (wants_blocked_) send(0, ConnectionUnblocked{});
  resume();
}

// The connection ends and waits for nothing but its own operations.
void Connection::forget_block() {
  if (std::exchange(blocked_, false)) --pauses_;
}

void Connection::release_all(Task done) {
  if (std::exchange(released_, true)) return done();
  pause();
  Join join([this, done = std::move(done)]() mutable {
    for (auto& [number, channel] : channels_)
      announce_closed(*channel);
    if (opened_) announce_closed(*this);
    channels_.clear();
    last_channel_ = nullptr;
    confirming_.clear();
    waiting_for_room_.clear();
    permit_ = ConnectionPermit();  // who hears of the end may connect again
    done();
    resume();
  });
  for (auto& [number, channel] : channels_)
    channel->release(join.share());
  for (const auto& [queue_id, queue] : exclusive_) {
    shard().broker().control().delete_queue(
        shard(), queue.vhost, queue.name, queue.id,
        [share = join.share()](const Result<void, ProtocolError>&) mutable { share(); });
  }
}

void Connection::lost(Task done) {
  lost_ = true;
  if (state_ == State::running) {
    kLog.warning("closing AMQP connection {}: client unexpectedly closed TCP connection",
                 peer_.name);
  }
  forget_block();
  if (pauses_ > 0) {
    when_resumed_ = [this, done = std::move(done)]() mutable { release_all(std::move(done)); };
  } else {
    release_all(std::move(done));
  }
}

void Connection::force_close(std::string_view reason) {
  if (lost_) return;
  if (state_ != State::running) return end_stream();
  ProtocolError error{ReplyCode::connection_forced, std::string(reason), MethodId{}};
  const bool was_blocked = blocked_;
  forget_block();
  if (pauses_ > 0) {
    when_resumed_ = [this, error = std::move(error)] { close(error, MethodId{}); };
  } else {
    close(error, MethodId{});
    if (was_blocked && !paused()) transport_.resume_reading();  // for its close-ok
  }
}

void Connection::tick() {
  const Timestamp now = shard().now();
  if (deadline_ != kNoTime && now >= deadline_) {
    if (state_ < State::running) kLog.warning("{}: handshake timed out", peer_.name);
    return end_stream();
  }
  if (state_ == State::running) check_heartbeat();
  if (state_ == State::running && pauses_ == 0) check_overdue();
  if (!std::exchange(busy_, false)) output_.shrink();
}

void Connection::check_overdue() {
  for (const auto& [number, channel] : channels_) {
    if (const auto error = channel->overdue(shard().now())) {
      kLog.warning("{}: {}", peer_.name, error->text);
      return fail_channel(number, *error, MethodId{});  // the next one at the next tick
    }
  }
}

void Connection::check_heartbeat() {
  if (heartbeat_s_ == 0) return;
  const Timestamp now = shard().now();
  // A peer with the same timeout hears us at least twice in it: one tick early, never one late.
  const Milliseconds timeout(std::int64_t{heartbeat_s_} * 1000);
  const Milliseconds quiet_for(timeout.count() / 2 - Sessions::kTickMs);
  if (now >= last_sent_ + quiet_for && output_.empty()) {
    encode_heartbeat(output_.tail());
    output_changed();
  }
  if (output_full_ && now >= last_sent_ + 2 * timeout) {
    kLog.warning("{}: the client has not read for {}s", peer_.name, heartbeat_s_ * 2);
    return end_stream();
  }
  if (now < next_receive_check_) return;
  next_receive_check_ = now + timeout;
  // While nothing is read, silence says nothing about the peer.
  if (std::exchange(heard_, false) || paused()) {
    silent_checks_ = 0;
  } else if (++silent_checks_ >= 2) {
    kLog.warning("{}: missed heartbeats from client, timeout: {}s", peer_.name, heartbeat_s_);
    end_stream();
  }
}

}  // namespace harrier
