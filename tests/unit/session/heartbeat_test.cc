#include <algorithm>
#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "tests/unit/session/session_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

constexpr std::uint16_t kHeartbeat = 10;  // seconds
constexpr Milliseconds kInterval(kHeartbeat * 1000);

int heartbeats(Client& client) {
  const Names names = client.take_names();
  CHECK(std::all_of(names.begin(), names.end(),
                    [](const std::string& name) { return name == "heartbeat"; }));
  return static_cast<int>(names.size());
}

void send_heartbeat(Client& client) {
  Buffer frame;
  encode_heartbeat(frame);
  client.send_octets(frame.view());
}

}  // namespace

TEST_SUITE("Connection: heartbeats sent") {
  TEST_CASE("an idle client hears from the broker at least twice in the timeout") {
    Node node;
    const auto client = Client::logged_in(node, 0, kHeartbeat);
    const Milliseconds tick(Sessions::kTickMs);
    node.pass(kInterval / 2 - 2 * tick);
    CHECK(heartbeats(*client) == 0);
    node.pass(2 * tick);
    CHECK(heartbeats(*client) == 1);
    for (int i = 0; i < 20; ++i) {
      send_heartbeat(*client);
      node.pass(kInterval);
      const int heard = heartbeats(*client);
      CHECK(heard >= 2);
      CHECK(heard <= 3);
    }
  }

  TEST_CASE("traffic takes the place of heartbeats") {
    Node node;
    const auto client = Client::logged_in(node, 0, kHeartbeat);
    for (int i = 0; i < 10; ++i) {
      node.pass(kInterval / 4);
      client->call<BasicQosOk>(1, BasicQos{});
    }
    CHECK(heartbeats(*client) == 0);
  }

  TEST_CASE("a client that wants none gets none and may be silent") {
    Node node;
    const auto client = Client::logged_in(node, 0, 0);
    node.pass(Milliseconds(3'600'000));
    CHECK(heartbeats(*client) == 0);
    CHECK_FALSE(client->ended);
  }

  TEST_CASE("heartbeats do not pile up for a client that does not read") {
    Node node;
    const auto client = Client::logged_in(node, 0, kHeartbeat);
    client->reading = false;
    for (int i = 0; i < 100; ++i) {
      node.pass(kInterval);
      send_heartbeat(*client);
    }
    CHECK(client->connection->output().size() == kFrameOverhead);
    client->read_on();
    CHECK(heartbeats(*client) == 1);
    CHECK_FALSE(client->ended);
  }
}

TEST_SUITE("Connection: heartbeats missed") {
  TEST_CASE("a client silent for two intervals is dropped, not before and not much later") {
    Node node;
    const auto client = Client::logged_in(node, 0, kHeartbeat);
    client->call<BasicQosOk>(1, BasicQos{});
    node.pass(2 * kInterval - Milliseconds(1));
    CHECK_FALSE(client->ended);
    node.pass(kInterval + Milliseconds(Sessions::kTickMs));
    CHECK(client->ended);
  }

  TEST_CASE("anything heard in time keeps the connection") {
    Node node;
    const auto client = Client::logged_in(node, 0, kHeartbeat);
    for (int i = 0; i < 5; ++i) {
      node.pass(kInterval + kInterval / 2);
      send_heartbeat(*client);
    }
    CHECK_FALSE(client->ended);
    // Even the pieces of a frame that is not complete.
    BasicPublish method;
    client->queue_up_publish(1, method, std::string(1000, 'x'));
    Buffer octets;
    octets.append(client->unsent.view());
    client->unsent.clear();
    for (std::size_t i = 0; i < 5; ++i) {
      node.pass(kInterval + kInterval / 2);
      client->send_octets(octets.view().substr(i * 4, 4));
    }
    CHECK_FALSE(client->ended);
  }

  TEST_CASE("silence counts only while the broker listens") {
    Node node;
    const auto client = Client::logged_in(node, 0, kHeartbeat);
    node.store.hold();
    QueueDeclare declare;
    declare.queue = "q";
    declare.durable = true;
    client->send(1, declare);
    REQUIRE(client->connection->paused());
    node.pass(10 * kInterval);
    CHECK_FALSE(client->ended);
    node.store.release();
    node.run();
    CHECK_FALSE(client->connection->paused());
    node.pass(2 * kInterval - Milliseconds(Sessions::kTickMs));
    CHECK_FALSE(client->ended);
    node.pass(2 * kInterval);
    CHECK(client->ended);
  }
}

TEST_SUITE("Connection: deadlines") {
  TEST_CASE("the handshake must be over in time") {
    for (const bool says_something : {false, true}) {
      CAPTURE(says_something);
      Node node;
      Client client(node, 0);
      if (says_something) client.send_octets(kProtocolHeader);
      node.pass(Milliseconds(node.config.handshake_timeout_ms - 1));
      CHECK_FALSE(client.ended);
      node.pass(Milliseconds(1));
      CHECK(client.ended);
    }
  }

  TEST_CASE("a connection that is open has no deadline") {
    Node node;
    const auto client = Client::logged_in(node);
    node.pass(Milliseconds(10 * node.config.handshake_timeout_ms));
    CHECK_FALSE(client->ended);
  }

  TEST_CASE("a client that was refused without a word is kept waiting and then dropped") {
    Node node;
    Client client(node, 0);
    client.send_octets(kProtocolHeader);
    REQUIRE(client.next_name() == "connection.start");
    ConnectionStartOk start_ok;
    start_ok.mechanism = "PLAIN";
    start_ok.response = std::string_view("\0guest\0wrong", 12);
    start_ok.locale = "en_US";
    client.send(0, start_ok);
    node.pass(Milliseconds(2999));
    CHECK_FALSE(client.ended);
    client.send_octets(std::string(100, 'x'));  // falls on deaf ears
    CHECK(client.unsent.empty());
    node.pass(Milliseconds(1));
    CHECK(client.ended);
    CHECK(client.take_names().empty());
  }

  TEST_CASE("a client that does not answer the broker's close is dropped") {
    Node node;
    const auto client = Client::logged_in(node);
    client->send(0, ConnectionTuneOk{});  // legal before connection.open only
    CHECK(client->next_name() == "connection.close");
    node.pass(Milliseconds(29'999));
    CHECK_FALSE(client->ended);
    node.pass(Milliseconds(1));
    CHECK(client->ended);
  }

  TEST_CASE("its close-ok ends the stream at once") {
    Node node;
    const auto client = Client::logged_in(node);
    client->send(0, ConnectionTuneOk{});
    CHECK(client->next_name() == "connection.close");
    client->send(0, ConnectionCloseOk{});
    CHECK(client->ended);
  }

  TEST_CASE("a client that keeps its socket open after close-ok is dropped") {
    Node node;
    const auto client = Client::logged_in(node);
    client->call<ConnectionCloseOk>(0, ConnectionClose{});
    node.pass(Milliseconds(29'999));
    CHECK_FALSE(client->ended);
    node.pass(Milliseconds(1));
    CHECK(client->ended);
  }
}
