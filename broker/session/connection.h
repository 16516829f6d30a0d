#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/task.h"
#include "broker/auth/access.h"
#include "broker/core/ids.h"
#include "broker/core/virtual_host.h"
#include "broker/runtime/limits.h"
#include "broker/runtime/shard.h"
#include "broker/session/output_buffer.h"
#include "broker/session/sessions.h"
#include "broker/session/transport.h"
#include "protocol/frame.h"
#include "protocol/method_codec.h"
#include "protocol/methods.h"
#include "protocol/reply_code.h"

namespace harrier {

// Where a connection comes from.
struct Peer {
  std::string name;  // "127.0.0.1:40312 -> 127.0.0.1:5672", as RabbitMQ names connections
  bool loopback = false;
};

// One AMQP 0-9-1 connection from protocol header to close, without the socket: octets in through
// receive(), octets out through output(). Lives on one shard. AMQP 0-9-1 sections 2.2.4 and 4.
class Connection final : public TurnEnd {
 public:
  Connection(Sessions& sessions, Transport& transport, Peer peer);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Handles the whole frames at the start of `input` and returns how many octets they took; the
  // caller keeps the rest and passes it again in front of what comes next. Stops early while
  // paused().
  std::size_t receive(ByteView input);

  // Waiting for another shard or the disk before the next frame may be looked at, or for the peer
  // to read what it asked for.
  bool paused() const { return pauses_ > 0 || output_full_; }

  // Octets the frame at the start of the last rest takes, as far as known: worth reading before the
  // next receive().
  std::size_t needed() const { return needed_; }

  OutputBuffer& output() { return output_; }

  // The transport has sent some of output().
  void output_sent();
  // The peer is gone. Everything it held goes back, then `done` runs: from inside this, so it may
  // not destroy it at once.
  void lost(Task done);

  // Resource alarms ended: a connection that was blocked goes on.
  void unblock();

  void tick();
  void force_close(std::string_view reason);

  // --- for the channels
  Sessions& sessions() { return sessions_; }

  Shard& shard() { return sessions_.shard(); }

  ConnectionId id() const { return id_; }

  const Peer& peer() const { return peer_; }

  VirtualHost& vhost() { return *vhost_; }

  const User& user() const { return *user_; }

  // connection_name of the client's properties.
  const std::string& client_name() const { return client_name_; }

  std::uint32_t frame_max() const { return frame_max_; }

  // consumer_cancel_notify in the client's capabilities.
  bool wants_cancel_notify() const { return wants_cancel_notify_; }

  bool output_has_room() const { return output_.size() < kOutputHighBytes; }

  // Encodes a method without content and sends it at the end of the turn.
  template <class M>
  void send(ChannelNumber channel, const M& method) {
    const std::size_t before = output_.size();
    encode_method(channel, method, output_.tail());
    output_.note_answer(output_.size() - before);
    output_changed();
  }

  // Sends what was put into output() directly.
  void output_changed() { shard().at_turn_end(*this); }

  // No frame is looked at until as many resume() follow.
  void pause() { ++pauses_; }

  void resume();

  // Ends the connection: CLOSE once every channel has given back what it held.
  void close(const ProtocolError& error, MethodId method);
  // Ends one channel of it (close.cc decides which).
  void fail_channel(ChannelNumber number, const ProtocolError& error, MethodId method);
  void channel_closed(ChannelNumber number);
  void confirms_ready(Channel& channel);
  // Consumers of `channel` found no room in the output.
  void wants_room(Channel& channel);
  // Gone with the connection.
  void own_exclusive(const QueueDefinition& queue);

  void end_of_turn() override;

 private:
  friend struct ConnectionMethods;  // handshake.cc: on(method) of class connection

  enum class State : std::uint8_t {
    protocol_header,
    start_ok,
    tune_ok,
    open,
    running,
    closing,  // our close is sent or under way; close-ok awaited
    closed,   // theirs is answered; the stream is about to end
    mute,     // refused without a word: the stream ends at deadline_
  };

  // Unsent octets from which on no more deliveries are taken, unsent answers from which on nothing
  // more is read, and unsent octets from which on both go on. Deliveries alone never stop the
  // reading: a client that writes before it reads would wait for a broker that waits for it.
  static constexpr std::size_t kOutputHighBytes = std::size_t{1} << 20;
  static constexpr std::size_t kOutputLowBytes = std::size_t{1} << 18;
  // Exclusive queues known from which on those deleted meanwhile are looked for.
  static constexpr std::size_t kExclusiveSweepMin = 64;
  // As RabbitMQ: how long a refused peer is kept waiting, and how long close-ok may take.
  static constexpr Milliseconds kMuteFor{3000};
  static constexpr Milliseconds kCloseTimeout{30'000};

  std::size_t receive_protocol_header(ByteView input);
  void on_frame(const Frame& frame);
  void on_frame_while_closing(const Frame& frame);
  void on_connection_method(ByteView payload);
  void on_channel_frame(const Frame& frame);
  void open_channel(const Frame& frame);
  Channel* find_channel(ChannelNumber number);
  void end_mute(std::string_view why);
  void block();
  void forget_block();
  // Gives back everything the channels and the connection hold.
  void release_all(Task done);
  void send_close(const ProtocolError& error, MethodId method);
  void end_stream();
  void send_start();
  void check_heartbeat();
  void check_overdue();

  Sessions& sessions_;
  Transport& transport_;
  const ConnectionId id_;
  const Peer peer_;
  std::string client_name_;
  State state_ = State::protocol_header;
  bool heard_ = false;  // octets arrived since the last heartbeat check
  bool busy_ = false;   // octets left since the last tick
  bool wants_cancel_notify_ = false;
  bool wants_failure_close_ = false;
  bool wants_blocked_ = false;
  bool blocked_ = false;  // by a resource alarm, which counts as one pause
  bool output_full_ = false;
  bool opened_ = false;  // connection.open was accepted
  bool released_ = false;
  bool lost_ = false;
  std::uint8_t silent_checks_ = 0;
  std::uint32_t pauses_ = 0;
  std::size_t needed_ = 0;

  std::shared_ptr<const User> user_;
  VirtualHost* vhost_ = nullptr;
  std::uint32_t frame_max_;
  std::uint16_t channel_max_ = 0;
  std::uint16_t heartbeat_s_ = 0;
  Timestamp deadline_{};  // of the state, kNoTime for none
  Timestamp last_sent_{};
  Timestamp next_receive_check_{};

  OutputBuffer output_;
  ConnectionPermit permit_;
  std::unordered_map<ChannelNumber, std::unique_ptr<Channel>> channels_;
  Channel* last_channel_ = nullptr;  // of the last frame: most traffic stays on one
  std::vector<Channel*> confirming_;
  std::vector<Channel*> waiting_for_room_;
  std::unordered_map<QueueId, QueueDefinition> exclusive_;
  std::size_t exclusive_sweep_at_ = kExclusiveSweepMin;
  Task when_resumed_;  // teardown that had to wait for a pause to end
};

}  // namespace harrier
