// Queues that refuse, on other shards than those who publish to them.

#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "protocol/field_table.h"
#include "tests/unit/session/session_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// Takes `length` messages and then refuses; with `dead` it dead-letters what it refuses.
void declare_full(Client& client, const std::string& queue, int length, bool durable = true,
                  const std::string& dead = "") {
  FieldTable arguments;
  arguments.set("x-max-length", Value::int32(length));
  arguments.set("x-overflow",
                Value::long_string(dead.empty() ? "reject-publish" : "reject-publish-dlx"));
  if (!dead.empty()) {
    arguments.set("x-dead-letter-exchange", Value::long_string(""));
    arguments.set("x-dead-letter-routing-key", Value::long_string(dead));
  }
  Buffer encoded;
  arguments.encode_fields(encoded);
  QueueDeclare method;
  method.queue = queue;
  method.durable = durable;
  method.arguments = TableView{encoded.view()};
  client.call<QueueDeclareOk>(1, method);
}

void bind_fanout(Client& client, const std::string& queue) {
  QueueBind bind;
  bind.queue = queue;
  bind.exchange = "amq.fanout";
  client.call<QueueBindOk>(1, bind);
}

// What a publisher is told, in its order: "1+" is an ack of 1, "3-" a nack of 3.
std::string answers(Client& client) {
  std::string told;
  std::uint64_t next = 1;
  while (!client.received.empty()) {
    const bool taken = client.received.front().name == "basic.ack";
    const std::uint64_t last =
        taken ? client.take<BasicAck>().delivery_tag : client.take<BasicNack>().delivery_tag;
    for (; next <= last; ++next)
      told += std::to_string(next) + (taken ? "+ " : "- ");
  }
  return told;
}

std::size_t stored_count(Node& node) {
  std::size_t stored = 0;
  REQUIRE(node.store.scan_entries([&stored](StoredEntry&&) { ++stored; }));
  return stored;
}

void expect_partial(Client& client) {
  CHECK(client.take<ChannelClose>().reply_text == "PRECONDITION_FAILED - partial tx completion");
  client.send(1, ChannelCloseOk{});
  client.call<ChannelOpenOk>(1, ChannelOpen{});
}

struct Course {
  ShardIndex shards;
  ShardIndex at;    // of the client
  ShardIndex home;  // of the full queue
};

std::vector<Course> courses() {
  std::vector<Course> all;
  for (const ShardIndex shards : Shards{2, 3}) {
    for (ShardIndex at = 0; at < shards; ++at) {
      for (ShardIndex home = 0; home < shards; ++home)
        all.push_back({shards, at, home});
    }
  }
  return all;
}

template <class Try>
void on_every_course(Try attempt) {
  for (const Course& course : courses()) {
    CAPTURE(course.shards);
    CAPTURE(course.at);
    CAPTURE(course.home);
    attempt(course.shards, course.at, course.home);
  }
}

}  // namespace

TEST_SUITE("Full queues on several shards: confirms") {
  TEST_CASE(
      "what a full queue refuses is nacked, in the order of the publishes, what others take "
      "acked") {
    on_every_course([](ShardIndex shards, ShardIndex at, ShardIndex home) {
      for (const bool persistent : {false, true}) {
        CAPTURE(persistent);
        Node node(shards);
        const auto client = Client::logged_in(node, at);
        const std::string full = node.name_at(home);
        const std::string other = "other " + full;
        declare_full(*client, full, 1);
        client->declare(other, true);
        client->call<ConfirmSelectOk>(1, ConfirmSelect{});
        BasicPublish method;
        for (const std::string& queue : {full, full, other, full, other}) {
          method.routing_key = queue;
          client->queue_up_publish(1, method, "m", persistent);
        }
        node.run();
        CHECK(answers(*client) == "1+ 2- 3+ 4- 5+ ");
        CHECK(node.queue(full).ready_count() == 1);
        CHECK(node.queue(other).ready_count() == 2);
        CHECK(stored_count(node) == (persistent ? 3 : 0));
      }
    });
  }

  TEST_CASE("one full queue among several: nacked, and the others have it") {
    on_every_course([](ShardIndex shards, ShardIndex at, ShardIndex home) {
      Node node(shards);
      const auto client = Client::logged_in(node, at);
      Names names;
      for (ShardIndex index = 0; index < shards; ++index) {
        names.push_back(node.name_at(index));
        declare_full(*client, names.back(), index == home ? 0 : 10);
        bind_fanout(*client, names.back());
      }
      client->call<ConfirmSelectOk>(1, ConfirmSelect{});
      BasicPublish method;
      method.exchange = "amq.fanout";
      node.store.hold();
      client->queue_up_publish(1, method, "m", true);
      node.run();
      CHECK(answers(*client).empty());  // not before the others have it durable
      node.store.release();
      node.run();
      CHECK(answers(*client) == "1- ");
      for (ShardIndex index = 0; index < shards; ++index)
        CHECK(node.queue(names[index]).ready_count() == (index == home ? 0 : 1));
    });
  }

  TEST_CASE(
      "what is refused to be dead-lettered is nacked and goes to its queue, wherever that is") {
    on_every_course([](ShardIndex shards, ShardIndex at, ShardIndex home) {
      Node node(shards);
      const auto client = Client::logged_in(node, at);
      const std::string full = node.name_at(home);
      const std::string dead = node.name_at(static_cast<ShardIndex>((home + 1) % shards));
      client->declare(dead, true);
      declare_full(*client, full, 1, true, dead);
      client->call<ConfirmSelectOk>(1, ConfirmSelect{});
      client->publish(full, "taken", true);
      client->publish(full, "refused", true);
      CHECK(answers(*client) == "1+ 2- ");
      CHECK(node.queue(dead).ready_count() == 1);
      client->consume(dead, true);
      CHECK(client->next_name() == "basic.deliver");
      CHECK(client->last.body == "refused");
      CHECK(stored_count(node) == 1);
    });
  }

  TEST_CASE("room that a consumer makes is there for the next publish behind its ack") {
    on_every_course([](ShardIndex shards, ShardIndex at, ShardIndex home) {
      Node node(shards);
      const auto client = Client::logged_in(node, at);
      const std::string full = node.name_at(home);
      declare_full(*client, full, 1);
      client->call<ConfirmSelectOk>(1, ConfirmSelect{});
      client->publish(full, "1");
      BasicGet get;
      get.queue = full;
      get.no_ack = true;
      client->queue_up(1, get);
      BasicPublish method;
      method.routing_key = full;
      client->queue_up_publish(1, method, "2");
      client->queue_up_publish(1, method, "3");
      node.run();
      CHECK(client->take<BasicAck>().delivery_tag == 1);
      CHECK(client->next_name() == "basic.get-ok");
      CHECK(client->take<BasicAck>().delivery_tag == 2);
      CHECK(client->take<BasicNack>().delivery_tag == 3);
    });
  }
}

TEST_SUITE("Full queues on several shards: transactions") {
  TEST_CASE("a commit of which one queue would refuse a part does nothing on any shard") {
    on_every_course([](ShardIndex shards, ShardIndex at, ShardIndex home) {
      Node node(shards);
      const auto client = Client::logged_in(node, at);
      Names names;
      for (ShardIndex index = 0; index < shards; ++index) {
        names.push_back(node.name_at(index));
        declare_full(*client, names.back(), index == home ? 1 : 2);
      }
      client->call<TxSelectOk>(1, TxSelect{});
      for (const std::string& name : names) {
        client->publish(name, "a", true);
        client->publish(name, "b", true);
      }
      client->send(1, TxCommit{});
      expect_partial(*client);
      CHECK(stored_count(node) == 0);
      for (const std::string& name : names)
        CHECK(node.queue(name).ready_count() == 0);
      // Nothing is kept: every queue takes all it may.
      client->call<ConfirmSelectOk>(1, ConfirmSelect{});
      for (const std::string& name : names) {
        client->publish(name, "c");
        client->publish(name, "d");
      }
      for (ShardIndex index = 0; index < shards; ++index)
        CHECK(node.queue(names[index]).ready_count() == (index == home ? 1 : 2));
    });
  }

  TEST_CASE("acks of a refused commit did not happen either") {
    on_every_course([](ShardIndex shards, ShardIndex at, ShardIndex home) {
      Node node(shards);
      const auto client = Client::logged_in(node, at);
      const std::string full = node.name_at(home);
      const std::string from = node.name_at(static_cast<ShardIndex>((home + 1) % shards));
      declare_full(*client, full, 0);
      client->declare(from, true);
      client->publish(from, "job", true);
      client->consume(from);
      CHECK(client->next_name() == "basic.deliver");
      client->call<TxSelectOk>(1, TxSelect{});
      client->publish(full, "result", true);
      client->ack(1);
      client->send(1, TxCommit{});
      expect_partial(*client);
      CHECK(node.queue(from).ready_count() == 1);
      CHECK(stored_count(node) == 1);
    });
  }

  TEST_CASE("of two commits at once for the last place one is done and one refused") {
    on_every_course([](ShardIndex shards, ShardIndex at, ShardIndex home) {
      Node node(shards);
      const auto first = Client::logged_in(node, at);
      const auto second = Client::logged_in(node, static_cast<ShardIndex>((at + 1) % shards));
      const std::string full = node.name_at(home);
      const std::string other = node.name_at(static_cast<ShardIndex>((home + 1) % shards));
      declare_full(*first, full, 3);
      first->declare(other, true);
      for (Client* client : {first.get(), second.get()}) {
        client->call<TxSelectOk>(1, TxSelect{});
        client->publish(full, "1", true);
        client->publish(full, "2", true);
        client->publish(other, "3", true);
      }
      first->queue_up(1, TxCommit{});
      second->queue_up(1, TxCommit{});
      node.run();
      const std::string one = first->next_name();
      const std::string two = second->next_name();
      CHECK(((one == "tx.commit-ok" && two == "channel.close") ||
             (two == "tx.commit-ok" && one == "channel.close")));
      CHECK(node.queue(full).ready_count() == 2);
      CHECK(node.queue(other).ready_count() == 1);
      CHECK(stored_count(node) == 3);
    });
  }

  TEST_CASE("room that a commit keeps is not there for others until it is done") {
    on_every_course([](ShardIndex shards, ShardIndex at, ShardIndex home) {
      Node node(shards);
      const auto client = Client::logged_in(node, at);
      const auto other = Client::logged_in(node, home);
      const std::string full = node.name_at(home);
      const std::string beside = node.name_at(static_cast<ShardIndex>((home + 1) % shards));
      declare_full(*client, full, 1);
      client->declare(beside, true);
      other->call<ConfirmSelectOk>(1, ConfirmSelect{});
      client->call<TxSelectOk>(1, TxSelect{});
      client->publish(full, "kept", true);
      client->publish(beside, "m", true);
      for (ShardIndex index = 0; index < shards; ++index) {  // the commit has to wait for this
        node.shard(index).begin_turn();
        node.shard(index).hold_groups(true);
        node.shard(index).end_turn();
      }
      client->send(1, TxCommit{});
      CHECK(client->take_names().empty());
      CHECK(node.queue(full).ready_count() == 0);
      other->publish(full, "in between");
      CHECK(answers(*other) == "1- ");
      for (ShardIndex index = 0; index < shards; ++index) {
        node.shard(index).begin_turn();
        node.shard(index).hold_groups(false);
        node.shard(index).end_turn();
      }
      node.run();
      CHECK(client->take_names() == Names{"tx.commit-ok"});
      CHECK(node.queue(full).ready_count() == 1);
      client->consume(full, true);
      CHECK(client->next_name() == "basic.deliver");
      CHECK(client->last.body == "kept");
      other->publish(full, "after");
      CHECK(other->take<BasicAck>().delivery_tag == 2);
    });
  }

  TEST_CASE("a queue deleted after it kept room is as good as none, and the rest is done") {
    on_every_course([](ShardIndex shards, ShardIndex at, ShardIndex home) {
      Node node(shards);
      const auto client = Client::logged_in(node, at);
      const auto other = Client::logged_in(node, home);
      const std::string victim = node.name_at(home);
      const std::string beside = node.name_at(static_cast<ShardIndex>((home + 1) % shards));
      declare_full(*client, victim, 1);
      declare_full(*client, beside, 1);
      client->call<TxSelectOk>(1, TxSelect{});
      client->publish(victim, "m", true);
      client->publish(beside, "m", true);
      client->queue_up(1, TxCommit{});
      QueueDelete method;
      method.queue = victim;
      other->queue_up(1, method);
      node.run();
      CHECK(other->next_name() == "queue.delete-ok");
      CHECK(client->take_names() == Names{"tx.commit-ok"});
      CHECK(node.queue(beside).ready_count() == 1);
      CHECK(stored_count(node) == 1);
      client->publish(beside, "full", true);
      client->send(1, TxCommit{});
      expect_partial(*client);
    });
  }

  TEST_CASE("a connection lost during its commit leaves no room kept") {
    on_every_course([](ShardIndex shards, ShardIndex at, ShardIndex home) {
      for (int turns = 0; turns < 5; ++turns) {
        CAPTURE(turns);
        Node node(shards);
        const auto other = Client::logged_in(node, home);
        const std::string full = node.name_at(home);
        declare_full(*other, full, 2);
        other->call<ConfirmSelectOk>(1, ConfirmSelect{});
        {
          const auto client = Client::logged_in(node, at);
          client->call<TxSelectOk>(1, TxSelect{});
          client->publish(full, "m", true);
          client->queue_up(1, TxCommit{});
          for (int i = 0; i < turns; ++i)
            node.turn(static_cast<ShardIndex>((at + i) % shards));
          client->lose();
        }
        const std::size_t done = node.queue(full).ready_count();
        CHECK(done <= 1);
        for (std::size_t left = 2 - done; left > 0; --left)
          other->publish(full, "x");
        other->publish(full, "too many");
        CHECK(answers(*other) == (done == 0 ? "1+ 2+ 3- " : "1+ 2- "));
      }
    });
  }

  TEST_CASE("a commit of a duplicate waits until the message it counts on is durable") {
    Node node;
    const auto client = Client::logged_in(node);
    FieldTable arguments;
    arguments.set("x-message-deduplication", Value::boolean(true));
    arguments.set("x-deduplication-source", Value::long_string("body"));
    Buffer encoded;
    arguments.encode_fields(encoded);
    QueueDeclare method;
    method.queue = "q";
    method.durable = true;
    method.arguments = TableView{encoded.view()};
    client->call<QueueDeclareOk>(1, method);
    client->call<TxSelectOk>(1, TxSelect{});
    client->call<ChannelOpenOk>(2, ChannelOpen{});
    node.store.hold();
    client->publish("q", "job", true, 2);
    client->publish("q", "job", true);
    client->send(1, TxCommit{});
    CHECK(client->take_names().empty());
    node.store.release();
    node.run();
    CHECK(client->take_names() == Names{"tx.commit-ok"});
  }
}
