#include "broker/runtime/recent_messages.h"

#include <string>

#include <doctest/doctest.h>

#include "broker/runtime/internal_publish.h"
#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

ExchangeDefinition a_history(std::string_view name) {
  ExchangeDefinition made;
  made.name = name;
  made.type = "x-recent-history";
  return made;
}

BindingDefinition a_binding(std::string_view source, std::string_view destination) {
  BindingDefinition made;
  made.source = source;
  made.destination = destination;
  return made;
}

// Publishes from one shard after the other.
void publish_from_everywhere(Cluster& cluster, std::string_view exchange) {
  for (ShardIndex from = 0; from < cluster.size(); ++from) {
    cluster.turn(from, [&] {
      VirtualHost& vhost = cluster.vhost(from);
      publish_from(cluster.shard(from), vhost, *vhost.find_exchange(exchange),
                   transient("from " + std::to_string(from)));
    });
    cluster.run();
  }
}

}  // namespace

TEST_SUITE("recent messages") {
  TEST_CASE("a queue of any shard gets what came from all shards before its binding is confirmed") {
    for (ShardIndex shards = 1; shards <= 3; ++shards) {
      for (ShardIndex home = 0; home < shards; ++home) {
        CAPTURE(shards);
        CAPTURE(home);
        Cluster cluster(shards);
        REQUIRE(cluster.declare(0, a_history("x")) == "ok");
        publish_from_everywhere(cluster, "x");
        const std::string name = cluster.name_at(home);
        REQUIRE(cluster.declare(home, a_queue(name)) == "ok");
        CHECK(cluster.queue(name).ready_count() == 0);
        std::size_t at_answer = 0;
        const auto from = static_cast<ShardIndex>(shards - 1);
        cluster.turn(from, [&] {
          cluster.broker.control().bind(cluster.shard(from), "/", a_binding("x", name),
                                        ConnectionId{}, [&](const Result<void, ProtocolError>&) {
                                          at_answer = cluster.queue(name).ready_count();
                                        });
        });
        cluster.run();
        CHECK(at_answer == shards);
      }
    }
  }

  TEST_CASE("an exchange bound later routes what was kept, and keeps it if it is such a one") {
    Cluster cluster(3);
    REQUIRE(cluster.declare(0, a_history("x")) == "ok");
    REQUIRE(cluster.declare(0, a_history("y")) == "ok");
    publish_from_everywhere(cluster, "x");
    BindingDefinition binding = a_binding("x", "y");
    binding.destination_kind = DestinationKind::exchange;
    REQUIRE(cluster.bind(1, binding) == "ok");
    const std::string name = cluster.name_at(2);
    REQUIRE(cluster.declare(2, a_queue(name)) == "ok");
    REQUIRE(cluster.bind(1, a_binding("y", name)) == "ok");
    CHECK(cluster.queue(name).ready_count() == 3);
  }

  TEST_CASE("what was kept goes with its exchange") {
    Cluster cluster(2);
    REQUIRE(cluster.declare(0, a_history("x")) == "ok");
    publish_from_everywhere(cluster, "x");
    REQUIRE(cluster.delete_exchange(1, "x") == "ok");
    REQUIRE(cluster.declare(0, a_history("x")) == "ok");
    REQUIRE(cluster.declare(0, a_queue("q")) == "ok");
    REQUIRE(cluster.bind(1, a_binding("x", "q")) == "ok");
    CHECK(cluster.queue("q").ready_count() == 0);
  }
}
