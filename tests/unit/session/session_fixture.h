#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/auth/internal_store.h"
#include "broker/runtime/broker.h"
#include "broker/session/connection.h"
#include "broker/session/sessions.h"
#include "broker/session/transport.h"
#include "protocol/byte_order.h"
#include "protocol/frame.h"
#include "protocol/method_codec.h"
#include "storage/memory_store.h"

namespace harrier::test {

using Names = std::vector<std::string>;
using Shards = std::initializer_list<ShardIndex>;

class Client;

// A broker without threads and sockets: shards by hand, time and disk as the test wants them, and
// clients whose sockets can be full.
class Node {
 public:
  explicit Node(ShardIndex shards = 1, SessionConfig with = {})
      : config(std::move(with)),
        access(std::move(*InternalStore::from_config(AuthConfig{}))),
        broker(shards, clock, store,
               [](const StoreError& error) { throw std::runtime_error(error.detail); }),
        woken_(shards, true) {
    configure_logging(LogConfig{LogLevel::none, LogLevel::none, {}});
    std::vector<Sessions*> all;
    for (ShardIndex index = 0; index < shards; ++index) {
      broker.shard(index).set_waker([this, index] { woken_[index] = true; });
      sessions_.push_back(std::make_unique<Sessions>(broker.shard(index), *access, config,
                                                     [this] { return next_random(); }));
      all.push_back(sessions_.back().get());
    }
    for (auto& one : sessions_)
      one->introduce(all);
    REQUIRE(broker.recover("/"));
    run();
  }

  Shard& shard(ShardIndex index) { return broker.shard(index); }

  Sessions& sessions(ShardIndex index) { return *sessions_[index]; }

  // Turns of all shards, until nothing is left to do.
  void run();
  // One turn of one shard.
  void turn(ShardIndex index);
  // Lets time pass in ticks.
  void pass(Milliseconds time);

  Queue& queue(std::string_view name) {
    const QueueHandle* handle = shard(0).find_vhost("/")->find_queue(name);
    REQUIRE(handle != nullptr);
    Queue* home = shard(handle->home()).find_queue(handle->id());
    REQUIRE(home != nullptr);
    return *home;
  }

  bool has_queue(std::string_view name) {
    return shard(0).find_vhost("/")->find_queue(name) != nullptr;
  }

  // A name whose queue lives on shard `home`.
  std::string name_at(ShardIndex home) {
    for (int i = 0;; ++i) {
      std::string name = "q" + std::to_string(i);
      if (home_shard("/", name, broker.shard_count()) == home) return name;
    }
  }

  void add(Client& client) { clients_.push_back(&client); }

  void remove(Client& client) { std::erase(clients_, &client); }

  SessionConfig config;
  ManualClock clock;
  MemoryStore store;
  std::unique_ptr<Access> access;
  Broker broker;

 private:
  NameRandom next_random() {
    NameRandom octets{};
    ++random_;
    for (std::size_t i = 0; i < sizeof random_; ++i) {
      octets[i] = static_cast<std::uint8_t>(random_ >> (8 * i));
    }
    return octets;
  }

  std::uint64_t random_ = 0;
  std::vector<bool> woken_;
  std::vector<std::unique_ptr<Sessions>> sessions_;
  std::vector<Client*> clients_;
};

// What the broker sent: one method with its content.
struct Received {
  ChannelNumber channel = 0;
  std::string name;     // "basic.deliver", "heartbeat"
  std::string payload;  // of the method
  std::string body;
};

// A client with its transport. Octets flow to it while it reads, at most `window` of them at once.
class Client final : public Transport {
 public:
  Client(Node& on, ShardIndex at) : node(on), shard_(at) {
    node.shard(at).begin_turn();
    connection = std::make_unique<Connection>(node.sessions(at), *this, Peer{"test -> node", true});
    node.add(*this);
  }

  // What the client says it understands.
  enum class Capability {
    none,
    blocked
  };

  enum class Waiting {
    no,
    yes
  };

  // Logged in, with channel 1 open.
  static std::unique_ptr<Client> logged_in(Node& node, ShardIndex at = 0,
                                           std::uint16_t heartbeat_s = 0,
                                           Capability capability = Capability::none) {
    auto client = std::make_unique<Client>(node, at);
    client->log_in(heartbeat_s, capability);
    client->call<ChannelOpenOk>(1, ChannelOpen{});
    return client;
  }

  ~Client() override {
    if (!lost) lose();
    node.remove(*this);
    reading = false;
    node.store.release();
    node.run();
    CHECK(released);
    connection.reset();
  }

  void log_in(std::uint16_t heartbeat_s, Capability capability = Capability::none) {
    ask_to_open(heartbeat_s, capability);
    REQUIRE(next_name() == "connection.open-ok");
    resumes = 0;
  }

  // As far as connection.open, whatever the answer will be; not waiting, nothing has seen it yet.
  void ask_to_open(std::uint16_t heartbeat_s = 0, Capability capability = Capability::none,
                   Waiting waiting = Waiting::yes) {
    send_octets(kProtocolHeader);
    REQUIRE(next_name() == "connection.start");
    ConnectionStartOk start_ok;
    start_ok.mechanism = "PLAIN";
    start_ok.response = std::string_view("\0guest\0guest", 12);
    start_ok.locale = "en_US";
    FieldTable capabilities;
    if (capability == Capability::blocked)
      capabilities.set("connection.blocked", Value::boolean(true));
    FieldTable properties;
    properties.set("capabilities", Value::table(capabilities));
    Buffer encoded;
    properties.encode_fields(encoded);
    start_ok.client_properties = TableView{encoded.view()};
    send(0, start_ok);
    REQUIRE(next_name() == "connection.tune");
    ConnectionTuneOk tune_ok;
    tune_ok.channel_max = 2047;
    tune_ok.frame_max = 131'072;
    tune_ok.heartbeat = heartbeat_s;
    send(0, tune_ok);
    ConnectionOpen open;
    open.virtual_host = "/";
    queue_up(0, open);
    if (waiting == Waiting::yes) node.run();
  }

  // --- to the broker
  void send_octets(ByteView octets) {
    unsent.append(octets);
    node.run();
  }

  template <class M>
  void send(ChannelNumber channel, const M& method) {
    encode_method(channel, method, unsent);
    node.run();
  }

  // Queued behind what the broker has not looked at; nothing runs.
  template <class M>
  void queue_up(ChannelNumber channel, const M& method) {
    encode_method(channel, method, unsent);
  }

  template <class Answer, class M>
  void call(ChannelNumber channel, const M& method) {
    send(channel, method);
    REQUIRE(next_name() == Answer::kName);
  }

  void queue_up_publish(ChannelNumber channel, const BasicPublish& method, ByteView body,
                        bool persistent = false) {
    encode_method(channel, method, unsent);
    // Flags of delivery-mode alone, or none.
    encode_header_frame(channel, body.size(),
                        persistent ? ByteView("\x10\x00\x02", 3) : ByteView("\0\0", 2), unsent);
    encode_body_frames(channel, body, 131'072, unsent);
  }

  void publish(std::string_view queue, ByteView body, bool persistent = false,
               ChannelNumber channel = 1) {
    BasicPublish method;
    method.routing_key = queue;
    queue_up_publish(channel, method, body, persistent);
    node.run();
  }

  void declare(std::string_view queue, bool durable = false, bool auto_delete = false,
               bool exclusive = false) {
    QueueDeclare method;
    method.queue = queue;
    method.durable = durable;
    method.auto_delete = auto_delete;
    method.exclusive = exclusive;
    call<QueueDeclareOk>(1, method);
  }

  void consume(std::string_view queue, bool no_ack = false, ChannelNumber channel = 1,
               std::string_view tag = "tag") {
    BasicConsume method;
    method.queue = queue;
    method.consumer_tag = tag;
    method.no_ack = no_ack;
    call<BasicConsumeOk>(channel, method);
  }

  void ack(std::uint64_t tag, bool multiple = false, ChannelNumber channel = 1) {
    BasicAck method;
    method.delivery_tag = tag;
    method.multiple = multiple;
    send(channel, method);
  }

  // --- from the broker
  // Names of everything that arrived, taken out.
  Names take_names() {
    Names names;
    while (!received.empty())
      names.push_back(next_name());
    return names;
  }

  std::string next_name() {
    if (received.empty()) return "nothing";
    last = std::move(received.front());
    received.pop_front();
    return last.name;
  }

  // The next one, as the method it must be. Borrows from `last`.
  template <class M>
  M take() {
    REQUIRE(next_name() == M::kName);
    M taken;
    visit_method(last.payload, [&taken](const auto& method) {
      if constexpr (std::is_same_v<std::decay_t<decltype(method)>, M>) taken = method;
    });
    return taken;
  }

  // Reads again, whatever has piled up.
  void read_on() {
    reading = true;
    node.shard(shard_).begin_turn();
    flush();
    node.shard(shard_).end_turn();
    node.run();
  }

  // The peer is gone.
  void lose() {
    lost = true;
    reading = false;
    node.shard(shard_).begin_turn();
    connection->lost([this] { released = true; });
    node.shard(shard_).end_turn();
    node.run();
  }

  // --- Transport
  void flush() override {
    OutputBuffer& output = connection->output();
    unread_max = std::max(unread_max, output.size());
    while (reading && !output.empty()) {
      iovec pieces[5];
      std::size_t octets = 0;
      for (std::size_t i = 0, count = output.gather(pieces); i < count; ++i) {
        const std::size_t taken = std::min(pieces[i].iov_len, window - octets);
        arrived_.append({static_cast<const char*>(pieces[i].iov_base), taken});
        octets += taken;
      }
      output.consume(octets);
      connection->output_sent();
    }
    parse();
  }

  void resume_reading() override { ++resumes; }

  void close_after_flush() override { ended = true; }

  // --- for Node
  ShardIndex at() const { return shard_; }

  bool feed() {
    if (lost || unsent.empty() || connection->paused()) return false;
    const std::size_t taken = connection->receive(unsent.view());
    if (taken > 0) unsent.consume(taken);
    return taken > 0;
  }

  Node& node;
  std::unique_ptr<Connection> connection;
  Buffer unsent;  // not taken by the broker
  bool reading = true;
  std::size_t window = SIZE_MAX;
  std::size_t unread_max = 0;  // the most that ever waited to be read
  int resumes = 0;
  bool ended = false;     // the broker wants the stream closed
  bool lost = false;      // the peer is gone
  bool released = false;  // and the broker has given up all it held
  std::deque<Received> received;
  Received last;

 private:
  void parse() {
    std::size_t consumed = 0;
    if (arrived_.view().starts_with("AMQP")) consumed = 8;
    for (;;) {
      const ByteView rest = arrived_.view().substr(consumed);
      const FrameParse parse = parse_frame(rest, 0);
      if (parse.status == FrameStatus::need_more) break;
      REQUIRE(parse.status == FrameStatus::complete);
      take_frame(parse.frame);
      consumed += parse.consumed;
    }
    if (consumed > 0) arrived_.consume(consumed);
  }

  void take_frame(const Frame& frame) {
    Incomplete& content = incomplete_[frame.channel];
    switch (frame.type) {
      case FrameType::heartbeat:
        received.push_back({frame.channel, "heartbeat", {}, {}});
        return;
      case FrameType::method: {
        content.message = {frame.channel, {}, std::string(frame.payload), {}};
        bool has_content = false;
        const DecodeStatus status = visit_method(frame.payload, [&](const auto& method) {
          using Method = std::decay_t<decltype(method)>;
          content.message.name = Method::kName;
          has_content = Method::kHasContent;
        });
        REQUIRE(status == DecodeStatus::ok);
        if (!has_content) received.push_back(std::move(content.message));
        return;
      }
      case FrameType::header:
        content.missing = load_big_endian<std::uint64_t>(frame.payload.data() + 4);
        break;
      case FrameType::body:
        content.message.body += frame.payload;
        content.missing -= frame.payload.size();
        break;
    }
    if (content.missing == 0) received.push_back(std::move(content.message));
  }

  struct Incomplete {
    Received message;
    std::uint64_t missing = 0;
  };

  const ShardIndex shard_;
  Buffer arrived_;
  std::map<ChannelNumber, Incomplete> incomplete_;
};

inline void Node::turn(ShardIndex index) {
  woken_[index] = false;
  shard(index).begin_turn();
  shard(index).run_mailbox();
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    if (clients_[i]->at() == index) clients_[i]->feed();
  }
  shard(index).end_turn();
}

inline void Node::run() {
  bool more = true;
  while (more) {
    more = false;
    for (ShardIndex index = 0; index < broker.shard_count(); ++index) {
      bool fed = false;
      const bool woken = woken_[index];
      woken_[index] = false;
      shard(index).begin_turn();
      if (woken) shard(index).run_mailbox();
      for (std::size_t i = 0; i < clients_.size(); ++i) {
        if (clients_[i]->at() == index) fed = clients_[i]->feed() || fed;
      }
      shard(index).end_turn();
      more = more || fed || woken;
    }
    more = more || std::find(woken_.begin(), woken_.end(), true) != woken_.end();
  }
}

inline void Node::pass(Milliseconds time) {
  while (time.count() > 0) {
    const Milliseconds step = std::min(time, Milliseconds(Sessions::kTickMs));
    time -= step;
    clock.advance(step);
    for (ShardIndex index = 0; index < broker.shard_count(); ++index) {
      shard(index).begin_turn();
      shard(index).run_timers();
      sessions(index).tick();
      shard(index).end_turn();
    }
    run();
  }
}

}  // namespace harrier::test

template <>
struct doctest::StringMaker<harrier::test::Names> {
  static String convert(const harrier::test::Names& names) {
    std::string shown;
    for (const std::string& name : names)
      shown += name + " ";
    return shown.c_str();
  }
};
