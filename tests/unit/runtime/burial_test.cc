// Dead letters whose queues live on several shards.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "broker/core/queue.h"
#include "protocol/properties.h"
#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// As a client published it: a dead letter's properties are read.
MessageRef published(std::string_view body, bool is_persistent = true) {
  MessageParts parts;
  parts.persistent = is_persistent;
  parts.properties = is_persistent ? ByteView("\x10\x00\x02", 3) : ByteView("\0\0", 2);
  return Message::create(parts, body);
}

QueueDefinition with_target(QueueDefinition made, std::string_view exchange,
                            std::string_view key = "") {
  made.arguments.set("x-dead-letter-exchange", Value::long_string(exchange));
  if (!key.empty()) made.arguments.set("x-dead-letter-routing-key", Value::long_string(key));
  return made;
}

QueueDefinition with(QueueDefinition made, std::string_view argument, std::int64_t value) {
  made.arguments.set(argument, Value::int64(value));
  return made;
}

// Bodies that are in the store, of whichever queue.
Bodies stored_in(MemoryStore& store) {
  Bodies bodies;
  REQUIRE(store.scan_entries(
      [&bodies](StoredEntry&& entry) { bodies.emplace_back(entry.message->body()); }));
  std::sort(bodies.begin(), bodies.end());
  return bodies;
}

// A queue on shard `from`, whose dead letters go through a fanout to one queue on every shard.
struct Graveyard {
  Graveyard(ShardIndex shards, ShardIndex from, MemoryStore* on = nullptr) : cluster(shards, on) {
    REQUIRE(cluster.declare(0, a_durable_exchange("dlx", "fanout")) == "ok");
    for (ShardIndex home = 0; home < shards; ++home) {
      names.push_back("dead " + cluster.name_at(home));
      // The home goes by the name: another one until it fits.
      while (home_shard("/", names.back(), shards) != home)
        names.back() += "'";
      REQUIRE(cluster.declare(0, a_durable_queue(names.back())) == "ok");
      REQUIRE(cluster.bind(0, to_queue("dlx", names.back())) == "ok");
    }
    source = cluster.name_at(from);
    REQUIRE(cluster.declare(0, with_target(a_durable_queue(source), "dlx")) == "ok");
    REQUIRE(cluster.definition(source).home == from);
  }

  void take(int count) {
    for (int i = 0; i < count; ++i)
      taken.push_back(cluster.get(source, false)->delivery.seq);
  }

  // In a turn of the source's shard, after which nothing else has run.
  void reject_all() {
    cluster.turn(cluster.definition(source).home, [&] {
      for (const Sequence seq : std::exchange(taken, {}))
        cluster.queue(source).settle(seq, Settlement::discard);
      cluster.queue(source).pump();
    });
  }

  void hold_groups(bool hold) {
    for (ShardIndex index = 0; index < cluster.size(); ++index)
      cluster.turn(index, [&] { cluster.shard(index).hold_groups(hold); });
    cluster.run();
  }

  Cluster cluster;
  std::vector<std::string> names;
  std::string source;
  std::vector<Sequence> taken;
};

struct Course {
  ShardIndex shards;
  ShardIndex from;
};

constexpr Course kCourses[] = {{2, 0}, {2, 1}, {3, 0}, {3, 1}, {3, 2}};

template <class Try>
void on_every_course(Try attempt) {
  for (const Course& course : kCourses) {
    CAPTURE(course.shards);
    CAPTURE(course.from);
    attempt(course.shards, course.from);
  }
}

}  // namespace

TEST_SUITE("Burial across shards") {
  TEST_CASE(
      "a dead letter is in every queue it goes to, wherever each lives, and in its old no more") {
    on_every_course([](ShardIndex shards, ShardIndex from) {
      MemoryStore store;
      Graveyard yard(shards, from, &store);
      yard.cluster.publish(yard.source, {published("a"), published("b"), published("c", false)});
      yard.take(3);
      yard.reject_all();
      yard.cluster.run();
      CHECK(yard.cluster.queue(yard.source).unacked_count() == 0);
      Bodies expected;
      for (ShardIndex i = 0; i < shards; ++i)
        expected.insert(expected.end(), {"a", "b"});
      std::sort(expected.begin(), expected.end());
      CHECK(stored_in(store) == expected);
      for (const std::string& name : yard.names)
        CHECK(yard.cluster.drain(name) == Bodies{"a", "b", "c"});
    });
  }

  TEST_CASE("after a crash it is in its old place or in all of the new ones") {
    on_every_course([](ShardIndex shards, ShardIndex from) {
      bool old = false;
      bool moved = false;
      for (int turns = 0; turns < 6; ++turns) {
        CAPTURE(turns);
        MemoryStore store;
        Graveyard yard(shards, from, &store);
        yard.cluster.publish(yard.source, {published("m")});
        yard.take(1);
        yard.reject_all();
        for (int i = 0; i < turns; ++i)
          yard.cluster.turn(static_cast<ShardIndex>((from + 1 + i) % shards));
        store.reopen();
        Cluster again(1, &store);
        std::size_t dead = 0;
        for (const std::string& name : yard.names)
          dead += again.queue(name).ready_count();
        const std::size_t left = again.queue(yard.source).ready_count();
        CHECK((left == 1 ? dead == 0 : dead == shards));
        old |= left == 1;
        moved |= left == 0;
      }
      CHECK(old);
      CHECK(moved);
    });
  }

  TEST_CASE("while the store holds changes over several shards it stays where it is") {
    on_every_course([](ShardIndex shards, ShardIndex from) {
      MemoryStore store;
      Graveyard yard(shards, from, &store);
      yard.cluster.publish(yard.source, {published("m")});
      yard.take(1);
      yard.hold_groups(true);
      yard.reject_all();
      yard.cluster.run();
      CHECK(stored_in(store) == Bodies{"m"});
      for (const std::string& name : yard.names)
        CHECK(yard.cluster.queue(name).ready_count() == 0);
      yard.hold_groups(false);
      CHECK(stored_in(store) == Bodies(shards, "m"));
      for (const std::string& name : yard.names)
        CHECK(yard.cluster.drain(name) == Bodies{"m"});
    });
  }

  TEST_CASE("many of one queue keep their order in all of them") {
    on_every_course([](ShardIndex shards, ShardIndex from) {
      Graveyard yard(shards, from);
      Bodies bodies;
      for (int i = 0; i < 200; ++i)
        bodies.push_back(std::to_string(i));
      std::vector<MessageRef> messages;
      for (const std::string& body : bodies)
        messages.push_back(published(body, false));
      yard.cluster.publish(yard.source, messages);
      yard.cluster.turn(from, [&] {
        QueueSettings settings = yard.cluster.queue(yard.source).settings();
        settings.max_length = 50;
        yard.cluster.queue(yard.source).apply(settings, yard.cluster.shard(from).now());
      });
      yard.cluster.run();
      CHECK(yard.cluster.queue(yard.source).ready_count() == 50);
      for (const std::string& name : yard.names)
        CHECK(yard.cluster.drain(name) == Bodies(bodies.begin(), bodies.begin() + 150));
    });
  }

  TEST_CASE(
      "one that dies again and again goes from shard to shard, and ends where nobody takes it") {
    MemoryStore store;
    Cluster cluster(3, &store);
    const std::string first = cluster.name_at(0);
    const std::string second = cluster.name_at(1);
    const std::string third = cluster.name_at(2);
    // A length of 0: what comes dies at once.
    REQUIRE(cluster.declare(0, with(with_target(a_durable_queue(first), "", second), "x-max-length",
                                    0)) == "ok");
    REQUIRE(cluster.declare(0, with(with_target(a_durable_queue(second), "", third),
                                    "x-message-ttl", 0)) == "ok");
    REQUIRE(cluster.declare(0, a_durable_queue(third)) == "ok");
    cluster.publish(first, {published("m")});
    cluster.run();
    CHECK(stored_in(store) == Bodies{"m"});
    const auto got = cluster.get(third, false);
    REQUIRE(got);
    const auto properties = parse_properties(got->delivery.message->properties());
    REQUIRE(properties);
    REQUIRE(properties->headers);
    CHECK(as_string(*properties->headers->find("x-first-death-queue")) == first);
    CHECK(as_string(*properties->headers->find("x-last-death-queue")) == second);
    CHECK(cluster.queue(first).ready_count() == 0);
    CHECK(cluster.queue(second).ready_count() == 0);
  }

  TEST_CASE("a circle of queues without a consumer that rejects ends after one round") {
    for (const ShardIndex shards : Shards{2, 3}) {
      CAPTURE(shards);
      MemoryStore store;
      Cluster cluster(shards, &store);
      std::vector<std::string> names;
      for (ShardIndex home = 0; home < shards; ++home)
        names.push_back(cluster.name_at(home));
      for (ShardIndex home = 0; home < shards; ++home) {
        QueueDefinition queue =
            with_target(a_durable_queue(names[home]), "", names[(home + 1U) % shards]);
        REQUIRE(cluster.declare(0, with(std::move(queue), "x-message-ttl", 0)) == "ok");
      }
      cluster.publish(names[0], {published("m")});
      cluster.run();
      CHECK(stored_in(store).empty());
      for (const std::string& name : names)
        CHECK(cluster.queue(name).ready_count() == 0);
    }
  }

  TEST_CASE("where one of its queues is being deleted, the others get it") {
    on_every_course([](ShardIndex shards, ShardIndex from) {
      MemoryStore store;
      Graveyard yard(shards, from, &store);
      const std::string victim = yard.names.back();
      yard.cluster.publish(yard.source, {published("m")});
      yard.take(1);
      yard.reject_all();
      CHECK(yard.cluster.delete_queue(0, victim) == "ok");
      yard.cluster.run();
      CHECK(yard.cluster.queue(yard.source).unacked_count() == 0);
      CHECK(stored_in(store) == Bodies(shards - 1U, "m"));
      for (const std::string& name : yard.names) {
        if (name != victim) CHECK(yard.cluster.drain(name) == Bodies{"m"});
      }
    });
  }

  TEST_CASE("a source that is deleted meanwhile takes nothing back") {
    on_every_course([](ShardIndex shards, ShardIndex from) {
      MemoryStore store;
      Graveyard yard(shards, from, &store);
      yard.cluster.publish(yard.source, {published("m")});
      yard.take(1);
      yard.reject_all();
      CHECK(yard.cluster.delete_queue(0, yard.source) == "ok");
      CHECK(stored_in(store) == Bodies(shards, "m"));
    });
  }
}
