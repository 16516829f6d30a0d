#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

PolicyDefinition policy(std::string_view pattern, std::string_view key, Value value) {
  PolicyDefinition made;
  made.name = "p";
  made.pattern = pattern;
  made.apply_to = "all";
  made.definition.set(key, std::move(value));
  return made;
}

PolicyDefinition max_length(std::string_view pattern, int value) {
  return policy(pattern, "max-length", Value::int64(value));
}

// What an operator does, asked from the last shard.
struct Operator {
  explicit Operator(Cluster& on) : cluster(on), from(static_cast<ShardIndex>(on.size() - 1)) {}

  template <class Question>
  std::string ask(Question&& question) {
    return cluster.ask(from, [&](Control::Done done) {
      question(cluster.broker.control(), cluster.shard(from), std::move(done));
    });
  }

  std::string set(PolicyDefinition wanted, PolicyKind kind = PolicyKind::user,
                  std::string vhost = "/") {
    return ask([&](Control& control, Shard& shard, Control::Done done) {
      control.set_policy(shard, vhost, kind, std::move(wanted), std::move(done));
    });
  }

  std::string clear(std::string name, PolicyKind kind = PolicyKind::user) {
    return ask([&](Control& control, Shard& shard, Control::Done done) {
      control.clear_policy(shard, "/", kind, std::move(name), std::move(done));
    });
  }

  std::string set(LimitDefinition limit) {
    return ask([&](Control& control, Shard& shard, Control::Done done) {
      control.set_limit(shard, std::move(limit), std::move(done));
    });
  }

  std::string clear(LimitDefinition limit) {
    return ask([&](Control& control, Shard& shard, Control::Done done) {
      control.clear_limit(shard, std::move(limit), std::move(done));
    });
  }

  std::string set(ParameterDefinition parameter) {
    return ask([&](Control& control, Shard& shard, Control::Done done) {
      control.set_parameter(shard, std::move(parameter), std::move(done));
    });
  }

  std::string clear(ParameterDefinition parameter) {
    return ask([&](Control& control, Shard& shard, Control::Done done) {
      control.clear_parameter(shard, std::move(parameter), std::move(done));
    });
  }

  std::string set_default_queue_type(std::string type) {
    return ask([&](Control& control, Shard& shard, Control::Done done) {
      control.set_default_queue_type(shard, "/", std::move(type), std::move(done));
    });
  }

  Bodies parameters() {
    Bodies listed;
    cluster.broker.control().each_parameter([&](const ParameterDefinition& one) {
      listed.push_back(one.vhost + "|" + one.component + "|" + one.name + "=" + one.value);
    });
    return listed;
  }

  Cluster& cluster;
  ShardIndex from;
};

QueueDefinition with_argument(QueueDefinition queue, std::string_view key, std::string_view value) {
  queue.arguments.set(key, Value::long_string(value));
  return queue;
}

}  // namespace

TEST_SUITE("control of policies") {
  TEST_CASE("a policy reaches the queues of every shard, those to come too, and leaves them") {
    for (const ShardIndex shards : Shards{1, 3}) {
      Cluster cluster(shards);
      Operator op(cluster);
      for (ShardIndex home = 0; home < shards; ++home)
        CHECK(cluster.declare(0, a_queue(cluster.name_at(home))) == "ok");
      CHECK(op.set(max_length("^q", 5)) == "ok");
      CHECK(cluster.declare(0, a_queue("q-late")) == "ok");
      for (ShardIndex home = 0; home < shards; ++home)
        CHECK(cluster.queue(cluster.name_at(home)).settings().max_length == 5U);
      CHECK(cluster.queue("q-late").settings().max_length == 5U);
      CHECK(op.set(max_length("^q", 4), PolicyKind::operators) == "ok");
      CHECK(cluster.queue("q-late").settings().max_length == 4U);
      CHECK(op.clear("p", PolicyKind::operators) == "ok");
      CHECK(cluster.queue("q-late").settings().max_length == 5U);
      CHECK(op.set(max_length("^other", 6)) == "ok");
      CHECK_FALSE(cluster.queue("q-late").settings().max_length.has_value());
      CHECK(op.clear("p") == "ok");
    }
  }

  TEST_CASE("what cannot be is refused with why") {
    Cluster cluster(2);
    Operator op(cluster);
    CHECK(op.set(max_length("^q", -1)) == "PRECONDITION_FAILED - -1 is not a valid maximum length");
    PolicyDefinition nameless = max_length("^q", 1);
    nameless.name = "";
    CHECK(op.set(nameless) == "PRECONDITION_FAILED - the policy's name is empty; name one");
    nameless.name = std::string(256, 'p');
    CHECK(op.set(nameless) ==
          "PRECONDITION_FAILED - the policy's name has more than 255 octets; shorten it");
    CHECK(op.set(max_length("^q", 1), PolicyKind::user, "v") ==
          "NOT_FOUND - Virtual host 'v' does not exist");
    CHECK(op.clear("p") == "NOT_FOUND - Parameter does not exist");
  }

  TEST_CASE("policies, limits, parameters and the default queue type are there after a restart") {
    MemoryStore store;
    {
      Cluster cluster(2, &store);
      Operator op(cluster);
      CHECK(cluster.declare(1, a_durable_queue("q")) == "ok");
      CHECK(cluster.declare(1, a_durable_exchange("x")) == "ok");
      CHECK(op.set(max_length("^q", 5)) == "ok");
      CHECK(op.set(max_length("^q", 3), PolicyKind::operators) == "ok");
      PolicyDefinition alternate = policy("^x", "alternate-exchange", Value::long_string("ae"));
      alternate.name = "a";
      CHECK(op.set(alternate) == "ok");
      PolicyDefinition gone = max_length("^q", 1);
      gone.name = "gone";
      CHECK(op.set(gone) == "ok");
      CHECK(op.clear("gone") == "ok");
      CHECK(op.set(LimitDefinition{LimitScope::vhost, "/", "max-queues", 2}) == "ok");
      CHECK(op.set(LimitDefinition{LimitScope::user, "u", "max-channels", 7}) == "ok");
      CHECK(op.set(LimitDefinition{LimitScope::user, "u", "max-connections", 7}) == "ok");
      CHECK(op.clear(LimitDefinition{LimitScope::user, "u", "max-connections", 0}) == "ok");
      CHECK(op.set(ParameterDefinition{"/", "shovel", "s", "{}"}) == "ok");
      CHECK(op.set(ParameterDefinition{"", "", "g", "1"}) == "ok");
      CHECK(op.set(ParameterDefinition{"", "", "h", "2"}) == "ok");
      CHECK(op.clear(ParameterDefinition{"", "", "h", ""}) == "ok");
      CHECK(op.set_default_queue_type("quorum") == "ok");
      cluster.stop();
    }
    store.reopen();
    Cluster cluster(3, &store);
    Operator op(cluster);
    CHECK(cluster.queue("q").settings().max_length == 3U);
    for (ShardIndex index = 0; index < 3; ++index) {
      CHECK(cluster.vhost(index).find_exchange("x")->alternate() == "ae");
      CHECK(cluster.vhost(index).policies().find(PolicyKind::user, "gone") == nullptr);
      CHECK(cluster.vhost(index).default_queue_type() == "quorum");
    }
    CHECK(op.parameters() == Bodies{"||g=1", "/|shovel|s={}"});
    int limits = 0;
    cluster.broker.control().limits().each([&](const LimitDefinition&) { ++limits; });
    CHECK(limits == 2);
    CHECK(cluster.declare(0, a_queue("second")) == "ok");
    CHECK(cluster.declare(0, a_queue("third")) ==
          "PRECONDITION_FAILED - cannot declare queue 'third': queue limit in vhost '/' (2) is "
          "reached");
  }

  TEST_CASE("an unknown default queue type is refused") {
    Cluster cluster(1);
    Operator op(cluster);
    CHECK(op.set_default_queue_type("stream") ==
          "PRECONDITION_FAILED - unsupported queue type 'stream'");
    CHECK(op.set_default_queue_type("") == "ok");
  }

  TEST_CASE("parameters of policies and limits have their own way") {
    Cluster cluster(1);
    Operator op(cluster);
    CHECK(op.set(ParameterDefinition{"/", "policy", "p", "{}"}) ==
          "PRECONDITION_FAILED - policies may not be set using this method");
    CHECK(op.clear(ParameterDefinition{"/", "operator_policy", "p", ""}) ==
          "PRECONDITION_FAILED - policies may not be cleared using this method");
    CHECK(op.set(ParameterDefinition{"/", "vhost-limits", "limits", "{}"}) ==
          "PRECONDITION_FAILED - limits may not be set using this method");
    CHECK(op.set(ParameterDefinition{"v", "shovel", "s", "{}"}) ==
          "NOT_FOUND - Virtual host 'v' does not exist");
    CHECK(op.clear(ParameterDefinition{"/", "shovel", "s", ""}) ==
          "NOT_FOUND - Parameter does not exist");
  }
}

TEST_SUITE("dead letter queues") {
  TEST_CASE("x-dead-letter-queue declares that queue along with the one that names it") {
    for (const ShardIndex shards : Shards{1, 3}) {
      Cluster cluster(shards);
      CHECK(cluster.declare(0, with_argument(a_queue("q"), "x-dead-letter-queue", "dead")) == "ok");
      CHECK(cluster.replicas_with_queue("dead") == int{shards});
      CHECK(cluster.definition("dead").durable);
      CHECK(cluster.definition("dead").lane.value != 0);
      const QueueSettings& settings = cluster.queue("q").settings();
      CHECK(settings.dead_letter_exchange == "");
      CHECK(settings.dead_letter_routing_key == "dead");
      const QueueId first = cluster.definition("dead").id;
      CHECK(cluster.declare(0, with_argument(a_queue("r"), "x-dead-letter-queue", "dead")) == "ok");
      CHECK(cluster.definition("dead").id == first);
    }
  }

  TEST_CASE("a policy makes it too, now and for what comes once it was deleted") {
    Cluster cluster(2);
    Operator op(cluster);
    CHECK(cluster.declare(0, a_queue("q")) == "ok");
    CHECK(op.set(policy(".*", "dead-letter-queue", Value::long_string("dead"))) == "ok");
    CHECK(cluster.replicas_with_queue("dead") == 2);
    CHECK(cluster.queue("q").settings().dead_letter_routing_key == "dead");
    CHECK_FALSE(cluster.queue("dead").settings().dead_letter_exchange.has_value());
    CHECK(cluster.delete_queue(1, "dead") == "ok");
    CHECK(cluster.declare(1, a_queue("late")) == "ok");
    CHECK(cluster.replicas_with_queue("dead") == 2);
  }

  TEST_CASE("both have to fit below the limit") {
    Cluster cluster(1);
    Operator op(cluster);
    CHECK(op.set(LimitDefinition{LimitScope::vhost, "/", "max-queues", 1}) == "ok");
    CHECK(
        cluster.declare(0, with_argument(a_queue("q"), "x-dead-letter-queue", "dead")) ==
        "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost '/' (1) is reached");
    CHECK(cluster.replicas_with_queue("dead") == 0);
    CHECK(cluster.declare(0, a_queue("q")) == "ok");
    CHECK(op.set(policy(".*", "dead-letter-queue", Value::long_string("dead"))) ==
          "PRECONDITION_FAILED - cannot declare queue 'dead': queue limit in vhost '/' (1) is "
          "reached");
    CHECK(cluster.vhost(0).policies().find(PolicyKind::user, "p") == nullptr);
  }
}
