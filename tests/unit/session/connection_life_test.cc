#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "tests/unit/session/session_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// Declares a durable queue on a disk that does not answer: the connection waits.
void wait_for_disk(Client& client, const std::string& queue = "slow") {
  client.node.store.hold();
  QueueDeclare method;
  method.queue = queue;
  method.durable = true;
  client.send(1, method);
  REQUIRE(client.connection->paused());
  REQUIRE(client.take_names().empty());
}

}  // namespace

TEST_SUITE("Connection: waiting") {
  TEST_CASE("no frame is looked at while an operation is under way") {
    Node node;
    const auto client = Client::logged_in(node);
    wait_for_disk(*client);
    client->send(1, BasicQos{});
    client->send(1, ChannelClose{});
    CHECK(client->take_names().empty());
    CHECK_FALSE(client->unsent.empty());
    CHECK(client->connection->receive(client->unsent.view()) == 0);
    const int resumes = client->resumes;
    node.store.release();
    node.run();
    CHECK(client->resumes > resumes);
    CHECK(client->take_names() == Names{"queue.declare-ok", "basic.qos-ok", "channel.close-ok"});
    CHECK(client->unsent.empty());
  }

  TEST_CASE("other connections go on meanwhile") {
    Node node;
    const auto waiting = Client::logged_in(node);
    const auto other = Client::logged_in(node);
    wait_for_disk(*waiting);
    other->call<BasicQosOk>(1, BasicQos{});
  }

  TEST_CASE("deliveries go on meanwhile") {
    Node node;
    const auto waiting = Client::logged_in(node);
    const auto other = Client::logged_in(node);
    waiting->declare("q");
    waiting->consume("q");
    wait_for_disk(*waiting);
    other->publish("q", "m");
    CHECK(waiting->next_name() == "basic.deliver");
  }

  TEST_CASE("a frame that comes in single octets is taken as a whole") {
    Node node;
    const auto client = Client::logged_in(node);
    client->declare("q");
    BasicPublish method;
    method.routing_key = "q";
    client->queue_up_publish(1, method, "body");
    Buffer octets;
    octets.append(client->unsent.view());
    client->unsent.clear();
    for (const char octet : octets.view()) {
      CHECK(node.queue("q").ready_count() == 0);
      client->send_octets({&octet, 1});
    }
    CHECK(node.queue("q").ready_count() == 1);
    CHECK(client->unsent.empty());
  }

  TEST_CASE("the size of an incomplete frame is known from its header on") {
    Node node;
    const auto client = Client::logged_in(node);
    Buffer frame;
    encode_body_frames(1, std::string(1000, 'x'), 0, frame);
    client->send_octets(frame.view().substr(0, 20));
    CHECK(client->connection->needed() == 1000 + kFrameOverhead);
    CHECK_FALSE(client->connection->paused());
  }
}

TEST_SUITE("Connection: lost") {
  TEST_CASE("everything it held goes back before it is released") {
    for (const ShardIndex shards : Shards{1, 2, 3}) {
      CAPTURE(shards);
      Node node(shards);
      const auto at = static_cast<ShardIndex>(shards - 1);
      const std::string name = node.name_at(0);
      const auto client = Client::logged_in(node, at);
      client->declare(name);
      client->declare("mine", false, false, true);
      client->consume(name);
      for (int i = 0; i < 5; ++i)
        client->publish(name, "m");
      REQUIRE(node.queue(name).unacked_count() == 5);
      client->lose();
      CHECK(client->released);
      CHECK(node.queue(name).ready_count() == 5);
      CHECK(node.queue(name).consumer_count() == 0);
      CHECK_FALSE(node.has_queue("mine"));
    }
  }

  TEST_CASE("it is released only when the operation under way has ended") {
    for (const ShardIndex shards : Shards{1, 2}) {
      CAPTURE(shards);
      Node node(shards);
      const auto at = static_cast<ShardIndex>(shards - 1);
      const auto client = Client::logged_in(node, at);
      client->declare("q");
      client->declare("mine", false, false, true);
      client->consume("q");
      client->publish("q", "m");
      REQUIRE(client->next_name() == "basic.deliver");
      wait_for_disk(*client);
      client->lose();
      CHECK_FALSE(client->released);
      CHECK(node.queue("q").unacked_count() == 1);
      node.store.release();
      node.run();
      CHECK(client->released);
      CHECK(node.queue("q").ready_count() == 1);
      CHECK_FALSE(node.has_queue("mine"));
      CHECK(node.has_queue("slow"));
    }
  }

  TEST_CASE("a commit under way ends first, too") {
    for (const ShardIndex shards : Shards{1, 2}) {
      CAPTURE(shards);
      Node node(shards);
      const std::string name = node.name_at(0);
      const auto client = Client::logged_in(node, static_cast<ShardIndex>(shards - 1));
      client->declare(name, true);
      client->call<TxSelectOk>(1, TxSelect{});
      client->publish(name, "m", true);
      node.store.hold();
      client->send(1, TxCommit{});
      CHECK(client->take_names().empty());
      client->lose();
      CHECK_FALSE(client->released);
      node.store.release();
      node.run();
      CHECK(client->released);
      CHECK(node.queue(name).ready_count() == 1);
    }
  }

  TEST_CASE("publishes not yet confirmed outlive it") {
    Node node;
    const auto client = Client::logged_in(node);
    client->declare("q", true);
    client->call<ConfirmSelectOk>(1, ConfirmSelect{});
    node.store.hold();
    client->publish("q", "m", true);
    client->lose();
    CHECK(client->released);
    node.store.release();
    node.run();
    CHECK(node.queue("q").ready_count() == 1);
  }

  TEST_CASE("it can be lost in every state") {
    Node node;
    {
      Client silent(node, 0);
      silent.lose();
      CHECK(silent.released);
    }
    {
      Client half(node, 0);
      half.send_octets(kProtocolHeader);
      half.lose();
      CHECK(half.released);
    }
    {
      const auto closing = Client::logged_in(node);
      closing->send(0, ConnectionTuneOk{});
      REQUIRE(closing->next_name() == "connection.close");
      closing->lose();
      CHECK(closing->released);
    }
    {
      const auto closed = Client::logged_in(node);
      closed->call<ConnectionCloseOk>(0, ConnectionClose{});
      closed->lose();
      CHECK(closed->released);
    }
    {
      const auto closing_slowly = Client::logged_in(node);
      closing_slowly->declare("mine", true, false, true);
      wait_for_disk(*closing_slowly);
      closing_slowly->queue_up(0, ConnectionClose{});
      closing_slowly->lose();
      CHECK_FALSE(closing_slowly->released);
      node.store.release();
      node.run();
      CHECK(closing_slowly->released);
      CHECK_FALSE(node.has_queue("mine"));
    }
    CHECK(node.sessions(0).connection_count() == 0);
  }
}

TEST_SUITE("Connection: forced closure") {
  TEST_CASE("every client is told, and no further frame is heard") {
    Node node;
    const auto client = Client::logged_in(node);
    client->declare("q");
    client->consume("q");
    client->publish("q", "m");
    CHECK(client->next_name() == "basic.deliver");
    node.shard(0).begin_turn();
    node.sessions(0).close_all("broker forced connection closure with reason 'shutdown'");
    node.shard(0).end_turn();
    node.run();
    const auto close = client->take<ConnectionClose>();
    CHECK(close.reply_code == 320);
    CHECK(close.reply_text ==
          "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'");
    CHECK(node.queue("q").ready_count() == 1);
    client->send(1, BasicQos{});
    CHECK(client->take_names().empty());
    client->send(0, ConnectionCloseOk{});
    CHECK(client->ended);
  }

  TEST_CASE("a client that is waiting gets its answer first") {
    Node node;
    const auto client = Client::logged_in(node);
    wait_for_disk(*client);
    node.shard(0).begin_turn();
    node.sessions(0).close_all("shutdown");
    node.shard(0).end_turn();
    node.run();
    CHECK(client->take_names().empty());
    node.store.release();
    node.run();
    CHECK(client->take_names() == Names{"queue.declare-ok", "connection.close"});
  }

  TEST_CASE("a connection lost while it waits is released although the broker shuts down") {
    Node node;
    const auto client = Client::logged_in(node);
    node.store.hold();
    QueueDeclare declare;
    declare.queue = "q";
    declare.durable = true;
    client->send(1, declare);
    client->lose();
    REQUIRE_FALSE(client->released);
    node.shard(0).begin_turn();
    node.sessions(0).close_all("shutdown");
    node.shard(0).end_turn();
    node.store.release();
    node.run();
    CHECK(client->released);
  }

  TEST_CASE("before connection.open the stream just ends") {
    Node node;
    Client client(node, 0);
    client.send_octets(kProtocolHeader);
    CHECK(client.next_name() == "connection.start");
    node.sessions(0).close_all("shutdown");
    CHECK(client.ended);
    CHECK(client.take_names().empty());
  }
}

TEST_SUITE("Channel: confirms") {
  TEST_CASE("a persistent message is confirmed when it is durable, a run of them at once") {
    Node node;
    const auto client = Client::logged_in(node);
    client->declare("q", true);
    client->call<ConfirmSelectOk>(1, ConfirmSelect{});
    node.store.hold();
    client->publish("q", "1", true);
    client->publish("q", "2", true);
    client->publish("q", "transient 3");  // waits for its turn
    CHECK(client->take_names().empty());
    node.store.release();
    node.run();
    const auto ack = client->take<BasicAck>();
    CHECK(ack.delivery_tag == 3);
    CHECK(ack.multiple);
    CHECK(client->take_names().empty());
    client->publish("q", "4");
    const auto last = client->take<BasicAck>();
    CHECK(last.delivery_tag == 4);
    CHECK_FALSE(last.multiple);
  }

  TEST_CASE("what is transient before what is slow is confirmed at once") {
    Node node;
    const auto client = Client::logged_in(node);
    client->declare("q", true);
    client->call<ConfirmSelectOk>(1, ConfirmSelect{});
    node.store.hold();
    client->publish("q", "1");
    CHECK(client->take<BasicAck>().delivery_tag == 1);
    client->publish("q", "2", true);
    client->publish("nowhere", "3", true);
    CHECK(client->take_names().empty());
    node.store.release();
    node.run();
    CHECK(client->take<BasicAck>().delivery_tag == 3);
  }
}
