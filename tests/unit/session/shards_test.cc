// What one connection sees of a broker of several shards and a slow disk.

#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/session/session_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

void bind_fanout(Client& client, const std::string& queue) {
  QueueBind bind;
  bind.queue = queue;
  bind.exchange = "amq.fanout";
  client.call<QueueBindOk>(1, bind);
}

void publish_fanout(Client& client, std::string_view body, bool persistent) {
  BasicPublish method;
  method.exchange = "amq.fanout";
  client.queue_up_publish(1, method, body, persistent);
  client.node.run();
}

// A durable queue on each shard, bound to amq.fanout.
std::vector<std::string> fan_out(Node& node, Client& client) {
  std::vector<std::string> names;
  for (ShardIndex home = 0; home < node.broker.shard_count(); ++home) {
    names.push_back(node.name_at(home));
    client.declare(names.back(), true);
    bind_fanout(client, names.back());
  }
  return names;
}

}  // namespace

TEST_SUITE("Several shards: publishing") {
  TEST_CASE("a message for queues of all shards is confirmed once, when all have it durable") {
    for (const ShardIndex at : Shards{0, 1, 2}) {
      CAPTURE(at);
      Node node(3);
      const auto client = Client::logged_in(node, at);
      const auto names = fan_out(node, *client);
      client->call<ConfirmSelectOk>(1, ConfirmSelect{});
      node.store.hold();
      publish_fanout(*client, "m", true);
      for (const std::string& name : names)
        CHECK(node.queue(name).ready_count() == 1);
      CHECK(client->take_names().empty());
      node.store.release();
      node.run();
      const auto ack = client->take<BasicAck>();
      CHECK(ack.delivery_tag == 1);
      CHECK(client->take_names().empty());
    }
  }

  TEST_CASE("it survives a crash in all of them or in none") {
    for (const ShardIndex at : Shards{0, 1, 2}) {
      for (int turns = 0; turns < 6; ++turns) {
        CAPTURE(at);
        CAPTURE(turns);
        Node node(3);
        const auto client = Client::logged_in(node, at);
        const auto names = fan_out(node, *client);
        BasicPublish method;
        method.exchange = "amq.fanout";
        client->queue_up_publish(1, method, "m", true);
        // The publisher's turn, then some of the others'.
        node.turn(at);
        for (int i = 0; i < turns; ++i)
          node.turn(static_cast<ShardIndex>((at + 1 + i) % 3));
        std::size_t stored = 0;
        REQUIRE(node.store.scan_entries([&stored](StoredEntry&&) { ++stored; }));
        CHECK((stored == 0 || stored == 3));
        if (turns >= 2) CHECK(stored == 3);
        node.run();
      }
    }
  }

  TEST_CASE("messages of one channel to one queue arrive in order, wherever it lives") {
    Node node(3);
    for (const ShardIndex home : Shards{0, 1, 2}) {
      CAPTURE(home);
      const auto client = Client::logged_in(node, 1);
      const std::string name = node.name_at(home);
      client->declare(name);
      BasicPublish method;
      method.routing_key = name;
      for (int i = 0; i < 50; ++i)
        client->queue_up_publish(1, method, std::to_string(i));
      node.run();
      client->consume(name, true);
      for (int i = 0; i < 50; ++i) {
        REQUIRE(client->next_name() == "basic.deliver");
        CHECK(client->last.body == std::to_string(i));
      }
    }
  }

  TEST_CASE("a publish to a remote queue is seen by the get behind it") {
    Node node(2);
    const auto client = Client::logged_in(node, 1);
    const std::string name = node.name_at(0);
    client->declare(name);
    BasicPublish method;
    method.routing_key = name;
    client->queue_up_publish(1, method, "m");
    BasicGet get;
    get.queue = name;
    client->queue_up(1, get);
    node.run();
    CHECK(client->next_name() == "basic.get-ok");
    CHECK(client->last.body == "m");
  }
}

TEST_SUITE("Several shards: settling") {
  TEST_CASE("a nack of all returns everything to its place") {
    Node node(2);
    const auto client = Client::logged_in(node, 1);
    const std::string name = node.name_at(0);
    client->declare(name);
    client->consume(name);
    for (int i = 0; i < 10; ++i)
      client->publish(name, std::to_string(i));
    CHECK(client->take_names().size() == 10);
    BasicCancel cancel;
    cancel.consumer_tag = "tag";
    client->call<BasicCancelOk>(1, cancel);
    BasicNack nack;
    nack.multiple = true;
    nack.requeue = true;
    client->send(1, nack);
    CHECK(node.queue(name).ready_count() == 10);
    client->consume(name, true);
    for (int i = 0; i < 10; ++i) {
      const auto delivery = client->take<BasicDeliver>();
      CHECK(delivery.redelivered);
      CHECK(client->last.body == std::to_string(i));
    }
  }

  TEST_CASE("acks reach the store of the shard where the queue lives") {
    Node node(2);
    const auto client = Client::logged_in(node, 1);
    const std::string name = node.name_at(0);
    client->declare(name, true);
    client->consume(name);
    for (int i = 0; i < 3; ++i)
      client->publish(name, "m", true);
    client->ack(2, true);
    std::size_t stored = 0;
    REQUIRE(node.store.scan_entries([&stored](StoredEntry&&) { ++stored; }));
    CHECK(stored == 1);
  }

  TEST_CASE("channel-wide prefetch bounds deliveries of local and remote queues together") {
    Node node(2);
    const auto client = Client::logged_in(node, 1);
    BasicQos qos;
    qos.prefetch_count = 3;
    qos.global = true;
    client->call<BasicQosOk>(1, qos);
    std::vector<std::string> names;
    for (const ShardIndex home : Shards{0, 1}) {
      names.push_back(node.name_at(home));
      client->declare(names.back());
      client->consume(names.back(), false, 1, names.back());
    }
    const auto publisher = Client::logged_in(node);
    for (int i = 0; i < 5; ++i) {
      for (const std::string& name : names)
        publisher->publish(name, "m");
    }
    CHECK(client->take_names().size() == 3);
    std::uint64_t tag = 0;
    for (std::size_t settled = 1; settled <= 7; ++settled) {
      client->ack(++tag);
      CHECK(client->take_names().size() == 1);
    }
    for (int i = 0; i < 3; ++i)
      client->ack(++tag);
    CHECK(client->take_names().empty());
    for (const std::string& name : names)
      CHECK(node.queue(name).unacked_count() == 0);
  }
}

TEST_SUITE("Several shards: transactions") {
  TEST_CASE("a commit is answered when all its publishes are durable, wherever") {
    for (const ShardIndex at : Shards{0, 1, 2}) {
      CAPTURE(at);
      Node node(3);
      const auto client = Client::logged_in(node, at);
      const auto names = fan_out(node, *client);
      client->call<TxSelectOk>(1, TxSelect{});
      for (const std::string& name : names)
        client->publish(name, "m", true);
      for (const std::string& name : names)
        CHECK(node.queue(name).ready_count() == 0);
      node.store.hold();
      client->send(1, TxCommit{});
      CHECK(client->take_names().empty());
      node.store.release();
      node.run();
      CHECK(client->take_names() == Names{"tx.commit-ok"});
      for (const std::string& name : names)
        CHECK(node.queue(name).ready_count() == 1);
    }
  }

  TEST_CASE("acks and publishes of a commit become durable together") {
    Node node(2);
    const auto client = Client::logged_in(node, 1);
    const auto names = fan_out(node, *client);
    client->publish(names[0], "from", true);
    client->consume(names[0]);
    CHECK(client->next_name() == "basic.deliver");
    client->call<TxSelectOk>(1, TxSelect{});
    client->ack(1);
    client->publish(names[1], "to", true);
    node.store.hold();
    client->send(1, TxCommit{});
    CHECK(client->take_names().empty());
    node.store.release();
    node.run();
    CHECK(client->take_names() == Names{"tx.commit-ok"});
    Names stored;
    REQUIRE(node.store.scan_entries(
        [&stored](StoredEntry&& entry) { stored.emplace_back(entry.message->body()); }));
    CHECK(stored == Names{"to"});
  }

  TEST_CASE("changes over several shards wait while the store holds them, all others go on") {
    Node node(2);
    const auto client = Client::logged_in(node);
    const auto other = Client::logged_in(node);
    const Names names = fan_out(node, *client);
    const auto hold = [&](bool on) {
      for (ShardIndex index : Shards{0, 1}) {
        node.shard(index).begin_turn();
        node.shard(index).hold_groups(on);
        node.shard(index).end_turn();
      }
      node.run();
    };
    hold(true);
    publish_fanout(*client, "all", true);
    CHECK(client->connection->paused());
    CHECK(node.queue(names[0]).ready_count() == 0);
    other->publish(names[0], "alone", true);
    CHECK(node.queue(names[0]).ready_count() == 1);
    other->call<TxSelectOk>(1, TxSelect{});
    other->publish(names[1], "committed", true);
    other->send(1, TxCommit{});
    CHECK(other->take_names().empty());
    hold(false);
    CHECK_FALSE(client->connection->paused());
    CHECK(node.queue(names[0]).ready_count() == 2);
    CHECK(node.queue(names[1]).ready_count() == 2);
    CHECK(other->take_names() == Names{"tx.commit-ok"});
  }

  TEST_CASE("a commit of acks alone is answered when they are durable, wherever the queue lives") {
    for (const ShardIndex at : Shards{0, 1}) {
      CAPTURE(at);
      Node node(2);
      const auto client = Client::logged_in(node, at);
      const std::string name = node.name_at(0);
      client->declare(name, true);
      client->publish(name, "m", true);
      client->consume(name);
      CHECK(client->next_name() == "basic.deliver");
      client->call<TxSelectOk>(1, TxSelect{});
      client->ack(1);
      node.store.hold();
      client->send(1, TxCommit{});
      CHECK(client->take_names().empty());
      node.store.release();
      node.run();
      CHECK(client->take_names() == Names{"tx.commit-ok"});
    }
  }
}

TEST_SUITE("Several shards: deletion") {
  TEST_CASE("deleting a queue ends consumers of all shards and tags stay valid") {
    Node node(3);
    const std::string name = node.name_at(2);
    const auto deleter = Client::logged_in(node, 0);
    deleter->declare(name);
    const auto near = Client::logged_in(node, 2);
    const auto far = Client::logged_in(node, 1);
    near->consume(name);
    far->consume(name);
    deleter->publish(name, "1");
    deleter->publish(name, "2");
    CHECK(near->next_name() == "basic.deliver");
    CHECK(far->next_name() == "basic.deliver");
    QueueDelete method;
    method.queue = name;
    deleter->call<QueueDeleteOk>(1, method);
    near->ack(1);
    far->ack(1);
    near->call<BasicQosOk>(1, BasicQos{});
    far->call<BasicQosOk>(1, BasicQos{});
    far->declare(name);
    CHECK(node.queue(name).consumer_count() == 0);
  }

  // Its messages were confirmed; and a queue that comes back without its lane would swallow more.
  TEST_CASE("a crash in the middle of a delete leaves the queue as it was") {
    Node node(2);
    const std::string name = node.name_at(1);
    const auto client = Client::logged_in(node, 0);
    client->declare(name, true);
    client->publish(name, "m", true);
    QueueDelete method;
    method.queue = name;
    client->queue_up(1, method);
    node.turn(0);  // asks the queue's shard to close it
    node.turn(1);  // closes it; control has not decided yet
    std::size_t stored = 0;
    REQUIRE(node.store.scan_entries([&stored](StoredEntry&&) { ++stored; }));
    CHECK(stored == 1);
    node.run();
    stored = 0;
    REQUIRE(node.store.scan_entries([&stored](StoredEntry&&) { ++stored; }));
    CHECK(stored == 0);
  }

  // The queue is closed at home and can be found until control has removed it.
  TEST_CASE("an immediate message may come between a queue's close and its removal") {
    Node node(2);
    const std::string name = node.name_at(0);
    const auto consumer = Client::logged_in(node, 0);
    const auto publisher = Client::logged_in(node, 0);
    const auto deleter = Client::logged_in(node, 1);
    consumer->declare(name);
    consumer->consume(name);
    QueueDelete method;
    method.queue = name;
    deleter->queue_up(1, method);
    node.turn(1);  // asks shard 0 to close the queue
    node.turn(0);  // closes it and answers; control hears of it in a later turn
    BasicPublish publish;
    publish.routing_key = name;
    publish.immediate = true;
    publisher->queue_up_publish(1, publish, "m");
    node.turn(0);
    node.run();
    CHECK(publisher->next_name() == "basic.return");
  }

  // The answer to the get comes to a shard that has already forgotten the queue.
  TEST_CASE("a message got from an auto-delete queue that goes meanwhile can still be settled") {
    Node node(3);
    const std::string name = node.name_at(2);
    const auto consumer = Client::logged_in(node, 2);
    consumer->declare(name, false, true);
    BasicQos qos;
    qos.prefetch_count = 1;
    consumer->call<BasicQosOk>(1, qos);
    consumer->consume(name);
    consumer->publish(name, "1");
    consumer->publish(name, "2");  // stays ready, the consumer has one already
    const auto getter = Client::logged_in(node, 1);

    BasicCancel cancel;
    cancel.consumer_tag = "tag";
    consumer->queue_up(1, cancel);
    node.turn(2);  // the last consumer goes: control is asked to delete the queue
    BasicGet get;
    get.queue = name;
    getter->queue_up(1, get);
    node.turn(1);  // asks shard 2 for a message
    node.turn(0);  // decides the deletion and tells shards 1 and 2
    node.turn(2);  // still has the queue when the get comes, then removes it
    node.run();    // shard 1 hears of the removal first, then gets its message
    CHECK(getter->next_name() == "basic.get-ok");
    getter->ack(1);
    getter->call<BasicQosOk>(1, BasicQos{});
  }
}

TEST_SUITE("Several shards: cancelling") {
  // No-ack deliveries are settled when they leave the queue: nobody else will see them.
  TEST_CASE("what is on its way to a cancelled consumer arrives before cancel-ok") {
    for (const bool no_ack : {true, false}) {
      CAPTURE(no_ack);
      Node node(2);
      const std::string name = node.name_at(0);
      const auto consumer = Client::logged_in(node, 1);
      consumer->declare(name);
      consumer->consume(name, no_ack);
      const auto publisher = Client::logged_in(node, 0);
      BasicPublish publish;
      publish.routing_key = name;
      for (const char* body : {"1", "2", "3"})
        publisher->queue_up_publish(1, publish, body);
      node.turn(0);  // sends them over
      BasicCancel cancel;
      cancel.consumer_tag = "tag";
      consumer->queue_up(1, cancel);
      // The frame is quicker than the other shard: this turn has not read its mail.
      node.shard(1).begin_turn();
      consumer->feed();
      node.shard(1).end_turn();
      node.run();
      CHECK(consumer->take_names() ==
            Names{"basic.deliver", "basic.deliver", "basic.deliver", "basic.cancel-ok"});
      CHECK(node.queue(name).ready_count() == 0);
      if (!no_ack) consumer->ack(3, true);
      CHECK(node.queue(name).unacked_count() == 0);
    }
  }
}
