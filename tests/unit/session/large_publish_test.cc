// Large persistent messages go to the store in pieces, between everybody else's commits.

#include "broker/session/large_publish.h"

#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/session/session_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

constexpr std::size_t kPieces = 4;
constexpr std::size_t kLarge = (kPieces - 1) * kBodyPieceBytes + 1;

// A commit: what was submitted up to now becomes durable, what follows from it does not yet.
void commit(Node& node) {
  node.store.release();
  node.store.hold();
  node.run();
}

std::unique_ptr<Client> confirming(Node& node, ShardIndex at = 0) {
  auto client = Client::logged_in(node, at);
  client->call<ConfirmSelectOk>(1, ConfirmSelect{});
  return client;
}

void bind_fanout(Client& client, const std::string& queue) {
  QueueBind bind;
  bind.queue = queue;
  bind.exchange = "amq.fanout";
  client.call<QueueBindOk>(1, bind);
}

}  // namespace

TEST_SUITE("large publishes") {
  TEST_CASE("other clients are confirmed between the pieces") {
    Node node;
    const auto large = confirming(node);
    const auto small = confirming(node);
    large->declare("large", true);
    large->declare("small", true);
    node.store.hold();
    large->publish("large", std::string(kLarge, 'x'), true);
    for (std::size_t piece = 0; piece < kPieces; ++piece) {
      CAPTURE(piece);
      CHECK(large->connection->paused());
      CHECK(node.queue("large").ready_count() == 0);
      small->publish("small", "m", true);
      commit(node);
      CHECK(small->take_names() == Names{"basic.ack"});
      CHECK(large->take_names().empty());
    }
    CHECK_FALSE(large->connection->paused());
    CHECK(node.queue("large").ready_count() == 1);
    commit(node);
    CHECK(large->take<BasicAck>().delivery_tag == 1);
  }

  TEST_CASE("many at once take turns, so that no commit gets large") {
    Node node;
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 6; ++i)
      clients.push_back(confirming(node));
    clients[0]->declare("q", true);
    node.store.hold();
    for (const auto& client : clients)
      client->publish("q", std::string(2 * kBodyPieceBytes, 'x'), true);
    // Of 12 pieces 4 go with each commit, the first four publishers' first.
    for (const std::size_t complete : {0U, 2U, 6U}) {
      commit(node);
      CHECK(node.queue("q").ready_count() == complete);
    }
    commit(node);
    for (const auto& client : clients)
      CHECK(client->take_names() == Names{"basic.ack"});
  }

  TEST_CASE("only what a durable queue will store goes ahead") {
    Node node;
    const auto client = confirming(node);
    client->declare("durable", true);
    client->declare("transient");
    node.store.hold();
    client->publish("durable", std::string(kBodyPieceBytes, 'x'), true);
    client->publish("durable", std::string(kLarge, 'x'), false);
    CHECK(node.queue("durable").ready_count() == 2);
    client->publish("transient", std::string(kLarge, 'x'), true);
    CHECK(node.queue("transient").ready_count() == 1);
    CHECK_FALSE(client->connection->paused());
  }

  TEST_CASE("those of a transaction go ahead of its commit, which is small") {
    Node node;
    const auto client = Client::logged_in(node);
    const auto other = confirming(node);
    client->declare("large", true);
    client->declare("small", true);
    client->call<TxSelectOk>(1, TxSelect{});
    client->publish("large", std::string(2 * kBodyPieceBytes, 'x'), true);
    client->publish("large", "between", true);
    client->publish("large", std::string(2 * kBodyPieceBytes, 'y'), true);
    node.store.hold();
    client->send(1, TxCommit{});
    for (int piece = 0; piece < 2; ++piece) {  // of each
      CHECK(node.queue("large").ready_count() == 0);
      other->publish("small", "m", true);
      commit(node);
      CHECK(other->take_names() == Names{"basic.ack"});
    }
    CHECK(node.queue("large").ready_count() == 3);
    CHECK(client->take_names().empty());
    commit(node);
    CHECK(client->take_names() == Names{"tx.commit-ok"});
  }

  TEST_CASE("a channel's messages keep their order") {
    Node node;
    const auto client = confirming(node);
    client->declare("q", true);
    node.store.hold();
    const std::string body(kLarge, 'x');
    client->publish("q", "before", true);
    client->publish("q", body, true);
    client->publish("q", "behind", true);
    CHECK(node.queue("q").ready_count() == 1);
    node.store.release();
    node.run();
    client->take_names();
    client->consume("q", true);
    for (const std::string& expected : {std::string("before"), body, std::string("behind")}) {
      REQUIRE(client->next_name() == "basic.deliver");
      CHECK(client->last.body == expected);
    }
  }

  TEST_CASE("all shards with queues for it get it, wherever it was published") {
    for (const ShardIndex at : Shards{0, 1, 2}) {
      for (const std::size_t queues : {1U, 3U}) {
        CAPTURE(at);
        CAPTURE(queues);
        Node node(3);
        const auto client = confirming(node, at);
        std::vector<std::string> names;
        for (ShardIndex home = 0; home < queues; ++home) {
          names.push_back(node.name_at(home));
          client->declare(names.back(), true);
          bind_fanout(*client, names.back());
        }
        node.store.hold();
        BasicPublish method;
        method.exchange = "amq.fanout";
        client->queue_up_publish(1, method, std::string(kLarge, 'x'), true);
        node.run();
        for (std::size_t piece = 0; piece < kPieces; ++piece) {
          for (const std::string& name : names)
            CHECK(node.queue(name).ready_count() == 0);
          commit(node);
        }
        for (const std::string& name : names)
          CHECK(node.queue(name).ready_count() == 1);
        CHECK(client->take_names().empty());
        commit(node);
        CHECK(client->take<BasicAck>().delivery_tag == 1);
      }
    }
  }

  TEST_CASE("a queue deleted meanwhile does not get it") {
    Node node;
    const auto client = confirming(node);
    const auto other = Client::logged_in(node);
    client->declare("kept", true);
    client->declare("gone", true);
    bind_fanout(*client, "kept");
    bind_fanout(*client, "gone");
    node.store.hold();
    BasicPublish method;
    method.exchange = "amq.fanout";
    client->queue_up_publish(1, method, std::string(kLarge, 'x'), true);
    node.run();
    QueueDelete erase;
    erase.queue = "gone";
    other->send(1, erase);
    node.store.release();
    node.run();
    CHECK_FALSE(node.has_queue("gone"));
    CHECK(node.queue("kept").ready_count() == 1);
    CHECK(client->take<BasicAck>().delivery_tag == 1);
  }

  TEST_CASE("a connection lost meanwhile still publishes it, then it is released") {
    Node node;
    const auto client = confirming(node);
    client->declare("q", true);
    node.store.hold();
    client->publish("q", std::string(kLarge, 'x'), true);
    client->lose();
    CHECK_FALSE(client->released);
    node.store.release();
    node.run();
    CHECK(client->released);
    CHECK(node.queue("q").ready_count() == 1);
  }
}
