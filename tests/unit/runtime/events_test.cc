#include "broker/runtime/events.h"

#include <optional>
#include <string>

#include <doctest/doctest.h>

#include "broker/runtime/internal_publish.h"
#include "protocol/properties.h"
#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

struct Told {
  std::string key;
  FieldTable facts;
};

// A queue that is bound to the event exchange, on the last of two shards.
struct Listening {
  Listening() : name(cluster.name_at(1)) {
    REQUIRE(cluster.declare(0, a_queue(name)) == "ok");
    BindingDefinition binding;
    binding.source = "amq.rabbitmq.event";
    binding.destination = name;
    binding.routing_key = "#";
    REQUIRE(cluster.bind(0, binding) == "ok");
    REQUIRE(next().has_value());  // of its own binding
  }

  std::optional<Told> next() {
    cluster.run();
    std::optional<Told> told;
    cluster.turn(1, [&] {
      cluster.queue(name).get(true, [&](GetResult got) {
        if (!got || !*got) return;
        const Message& message = *(*got)->delivery.message;
        const auto properties = parse_properties(message.properties());
        REQUIRE(properties.has_value());
        told = Told{std::string(message.routing_key()), properties->headers->to_owned()};
      });
    });
    return told;
  }

  Cluster cluster{2};
  const std::string name;
};

}  // namespace

TEST_SUITE("events") {
  TEST_CASE("the facts come with the time and the node") {
    Listening broker;
    Cluster& cluster = broker.cluster;
    cluster.turn(1, [&] { announce_alarm(cluster.shard(1), "memory", true); });
    const auto told = broker.next();
    REQUIRE(told.has_value());
    CHECK(told->key == "alarm.set");
    CHECK(*as_string(*told->facts.find("source")) == "memory");
    CHECK(*as_string(*told->facts.find("node")) == node_name());
    CHECK(as_integer(*told->facts.find("timestamp_in_ms")) ==
          cluster.shard(1).now().time_since_epoch().count());
    cluster.turn(0, [&] { announce_alarm(cluster.shard(0), "disk", false); });
    CHECK(broker.next()->key == "alarm.cleared");
  }

  TEST_CASE("nothing is described while nobody is bound") {
    Cluster cluster(1);
    CHECK_FALSE(events_are_wanted(cluster.shard(0)));
    bool described = false;
    announce(cluster.shard(0), "queue.created", [&](FieldTable&) { described = true; });
    CHECK_FALSE(described);
    Listening broker;
    CHECK(events_are_wanted(broker.cluster.shard(0)));
    CHECK(events_are_wanted(broker.cluster.shard(1)));
  }

  TEST_CASE("a change is told once, however many shards apply it, and what went with it") {
    Listening broker;
    Cluster& cluster = broker.cluster;
    const std::string vhost = cluster.ask(1, [&](Control::Done done) {
      cluster.broker.control().add_vhost(cluster.shard(1), "other", std::move(done));
    });
    CHECK(vhost == "ok");
    const auto told = broker.next();
    REQUIRE(told.has_value());
    CHECK(told->key == "vhost.created");
    CHECK(*as_string(*told->facts.find("name")) == "other");
    CHECK_FALSE(broker.next().has_value());
  }
}
