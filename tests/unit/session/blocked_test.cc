#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "protocol/field_table.h"
#include "tests/unit/session/session_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

void set_alarms(Node& node, const Alarms& alarms) {
  node.shard(0).begin_turn();
  node.sessions(0).set_alarms(alarms);
  node.shard(0).end_turn();
  node.run();
}

}  // namespace

TEST_SUITE("Connection: resource alarms") {
  TEST_CASE("a connection that publishes is blocked, told so, and goes on when the alarm ends") {
    Node node;
    const auto client = Client::logged_in(node, 0, 0, Client::Capability::blocked);
    client->declare("q");
    set_alarms(node, {.memory = true});
    CHECK(client->received.empty());
    client->publish("q", "1");
    CHECK(client->take<ConnectionBlocked>().reason == "low on memory");
    CHECK(node.queue("q").ready_count() == 0);  // RabbitMQ reads the header, then no more
    client->send(1, QueueDeclare{});
    client->publish("q", "2");
    CHECK(client->received.empty());

    set_alarms(node, {.memory = true, .disk = true});
    CHECK(client->received.empty());
    set_alarms(node, {});
    CHECK(client->take_names() == Names{"connection.unblocked", "queue.declare-ok"});
    CHECK(node.queue("q").ready_count() == 2);
  }

  TEST_CASE("each alarm is told once as an event when it comes, and when it goes") {
    Node node;
    const auto client = Client::logged_in(node);
    client->declare("q");
    QueueBind bind;
    bind.queue = "q";
    bind.exchange = "amq.rabbitmq.event";
    bind.routing_key = "alarm.*";
    client->send(1, bind);
    set_alarms(node, {.memory = true});
    CHECK(node.queue("q").ready_count() == 1);
    set_alarms(node, {.memory = true, .disk = true});
    CHECK(node.queue("q").ready_count() == 2);
    set_alarms(node, {.memory = true, .disk = true});
    CHECK(node.queue("q").ready_count() == 2);
    set_alarms(node, {});
    CHECK(node.queue("q").ready_count() == 4);
  }

  TEST_CASE("a client without the capability is blocked without a word") {
    Node node;
    const auto client = Client::logged_in(node);
    client->declare("q");
    set_alarms(node, {.disk = true});
    client->publish("q", "1");
    client->publish("q", "2");
    CHECK(client->connection->paused());
    CHECK(client->received.empty());
    set_alarms(node, {});
    CHECK(client->received.empty());
    CHECK(node.queue("q").ready_count() == 2);
  }

  TEST_CASE("consumers go on, and may acknowledge and declare") {
    Node node;
    const auto publisher = Client::logged_in(node);
    const auto consumer = Client::logged_in(node, 0, 0, Client::Capability::blocked);
    publisher->declare("q");
    publisher->publish("q", "1");
    set_alarms(node, {.memory = true});
    consumer->consume("q");
    CHECK(consumer->take_names() == Names{"basic.deliver"});
    consumer->ack(1);
    CHECK(node.queue("q").unacked_count() == 0);
    consumer->declare("another");
    CHECK_FALSE(consumer->connection->paused());
  }

  TEST_CASE("a blocked client hears heartbeats and is not taken for dead") {
    Node node;
    const auto client = Client::logged_in(node, 0, 10);
    client->declare("q");
    set_alarms(node, {.memory = true});
    client->publish("q", "1");
    node.pass(Milliseconds(60'000));
    const Names names = client->take_names();
    CHECK(names.size() >= 10);
    CHECK_FALSE(client->ended);
  }

  TEST_CASE("a blocked connection can be lost and closed") {
    for (const bool lost : {true, false}) {
      CAPTURE(lost);
      Node node;
      const auto client = Client::logged_in(node);
      client->declare("q");
      set_alarms(node, {.memory = true});
      client->publish("q", "1");
      REQUIRE(client->connection->paused());
      if (lost) {
        client->lose();
        CHECK(client->released);
      } else {
        node.shard(0).begin_turn();
        node.sessions(0).close_all("shutdown");
        node.shard(0).end_turn();
        node.run();
        CHECK(client->next_name() == "connection.close");
        CHECK_FALSE(client->connection->paused());
      }
      set_alarms(node, {});
    }
  }
}
