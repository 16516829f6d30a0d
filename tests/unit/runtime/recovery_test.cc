#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "broker/core/definition_records.h"
#include "broker/core/queue_lanes.h"
#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// One run of a broker on `store`, ended like a killed process unless it was stopped.
struct Run {
  Run(ShardIndex shards, MemoryStore& on) : store(on), cluster(shards, &on) {}

  ~Run() { store.reopen(); }

  MemoryStore& store;
  Cluster cluster;
};

std::vector<MessageRef> numbered(int from, int to) {
  std::vector<MessageRef> messages;
  for (int i = from; i < to; ++i)
    messages.push_back(persistent(std::to_string(i)));
  return messages;
}

Bodies numbers(int from, int to) {
  Bodies bodies;
  for (int i = from; i < to; ++i)
    bodies.push_back(std::to_string(i));
  return bodies;
}

}  // namespace

TEST_SUITE("Recovery") {
  TEST_CASE("an empty store gets the default virtual host, once") {
    MemoryStore store;
    {
      Run run(2, store);
      CHECK(run.cluster.shard(1).find_vhost("/") != nullptr);
    }
    ManualClock clock;
    Broker broker(1, clock, store, [](const StoreError&) {});
    REQUIRE(broker.recover("another"));
    CHECK(broker.shard(0).find_vhost("/") != nullptr);
    CHECK(broker.shard(0).find_vhost("another") == nullptr);
  }

  TEST_CASE("virtual hosts come back with what is in them") {
    MemoryStore store;
    {
      Run run(2, store);
      Cluster& cluster = run.cluster;
      const std::string added = cluster.ask(1, [&](Control::Done done) {
        cluster.broker.control().add_vhost(cluster.shard(1), "v", std::move(done));
      });
      REQUIRE(added == "ok");
      const std::string declared = cluster.ask(1, [&](Control::Done done) {
        cluster.broker.control().declare_queue(cluster.shard(1), "v", a_durable_queue("q"), {},
                                               false, std::move(done));
      });
      REQUIRE(declared == "ok");
    }
    Run run(2, store);
    for (ShardIndex index = 0; index < 2; ++index) {
      const VirtualHost* vhost = run.cluster.shard(index).find_vhost("v");
      REQUIRE(vhost != nullptr);
      REQUIRE(vhost->find_queue("q") != nullptr);
      CHECK(vhost->find_queue("q")->definition().vhost == "v");
      CHECK(run.cluster.vhost(index).find_queue("q") == nullptr);
    }
  }

  TEST_CASE("a queue comes back as it was declared") {
    MemoryStore store;
    QueueDefinition wanted = a_durable_queue("q");
    wanted.auto_delete = true;
    wanted.arguments.set("x-max-length", Value::int32(10));
    QueueDefinition before;
    {
      Run run(3, store);
      REQUIRE(run.cluster.declare(2, wanted, ConnectionId{}, true) == "ok");
      before = run.cluster.definition("q");
    }
    Run run(3, store);
    const QueueDefinition& after = run.cluster.definition("q");
    CHECK(after.durable);
    CHECK(after.auto_delete);
    CHECK(after.id == before.id);
    CHECK(after.lane == before.lane);
    CHECK(after.home == home_shard("/", "q", 3));
    CHECK(run.cluster.declare(0, wanted) == "ok");
    wanted.arguments.set("x-max-length", Value::int32(11));
    CHECK(run.cluster.declare(0, wanted).starts_with("PRECONDITION_FAILED"));
  }

  TEST_CASE("queues of a time before delays get a lane that no other has, once") {
    MemoryStore store;
    {
      Run run(1, store);
      StoreBatch& batch = run.cluster.shard(0).batch();
      for (const std::uint32_t lane : {1U, 2U}) {
        QueueDefinition queue = a_durable_queue("q" + std::to_string(lane));
        queue.id = QueueId{lane};
        queue.lane = LaneId{lane};
        batch.put_record(queue_record_key("/", queue.name), queue_record(queue));
      }
      batch.put_record(next_lane_record_key(), next_lane_record(LaneId{1025}));
      run.cluster.turn(0);
    }
    LaneId first;
    LaneId second;
    {
      Run run(1, store);
      first = run.cluster.definition("q1").delay_lane;
      second = run.cluster.definition("q2").delay_lane;
      CHECK(first.value >= 1025);
      CHECK(second.value >= 1025);
      CHECK(first.value + kDelayLanes <= second.value);
    }
    Run run(1, store);
    CHECK(run.cluster.definition("q1").delay_lane == first);
    CHECK(run.cluster.definition("q2").delay_lane == second);
    REQUIRE(run.cluster.declare(0, a_durable_queue("q3")) == "ok");
    CHECK(run.cluster.definition("q3").lane.value >= second.value + kDelayLanes);
    CHECK(run.cluster.definition("q3").delay_lane.value ==
          run.cluster.definition("q3").lane.value + 1);
  }

  TEST_CASE("messages come back in order, however many shards there are now") {
    MemoryStore store;
    const ShardIndex shard_counts[] = {1, 3, 2, 1, 3};
    {
      Run run(2, store);
      for (const char* name : {"a", "b", "c", "d"}) {
        REQUIRE(run.cluster.declare(0, a_durable_queue(name)) == "ok");
        run.cluster.publish(name, numbered(0, 10));
        run.cluster.publish(name, Bodies{"transient"});
      }
      run.cluster.run();
    }
    int next = 10;
    for (const ShardIndex shards : shard_counts) {
      CAPTURE(shards);
      Run run(shards, store);
      for (const char* name : {"a", "b", "c", "d"}) {
        CHECK(run.cluster.queue(name).ready_count() == 10);
        // One leaves at the front, one joins at the end.
        CHECK(run.cluster.get(name, true)->delivery.message->body() == std::to_string(next - 10));
        run.cluster.publish(name, numbered(next, next + 1));
        run.cluster.queue(name).check_invariants();
      }
      run.cluster.run();
      ++next;
    }
    Run run(2, store);
    for (const char* name : {"a", "b", "c", "d"}) {
      CHECK(run.cluster.drain(name) == numbers(next - 10, next));
    }
  }

  SCENARIO("what was acknowledged stays away, what was not comes back") {
    GIVEN("a queue of which some deliveries are outstanding and some acknowledged") {
      MemoryStore store;
      const auto prepare = [](Cluster& cluster) {
        REQUIRE(cluster.declare(0, a_durable_queue("q")) == "ok");
        cluster.publish("q", numbered(1, 7));
        for (int i = 0; i < 4; ++i)
          cluster.get("q", false);
        cluster.turn(cluster.definition("q").home, [&] {
          Queue& queue = cluster.queue("q");
          queue.settle(2, Settlement::ack);
          queue.settle(3, Settlement::requeue);
        });
        cluster.run();
      };
      WHEN("the broker is killed") {
        {
          Run run(2, store);
          prepare(run.cluster);
        }
        THEN("all others are back, and any may have been seen before") {
          Run run(2, store);
          Bodies bodies;
          while (const auto got = run.cluster.get("q", false)) {
            bodies.emplace_back(got->delivery.message->body());
            CHECK(got->delivery.redelivered);
          }
          CHECK(bodies == Bodies{"1", "3", "4", "5", "6"});
        }
      }
      WHEN("it is stopped") {
        {
          Run run(2, store);
          prepare(run.cluster);
          run.cluster.stop();
        }
        THEN("those that nobody has seen are not marked") {
          Run run(3, store);
          Bodies seen, unseen;
          while (const auto got = run.cluster.get("q", false)) {
            (got->delivery.redelivered ? seen : unseen).emplace_back(got->delivery.message->body());
          }
          CHECK(seen == Bodies{"1", "3", "4"});
          CHECK(unseen == Bodies{"5", "6"});
        }
      }
    }
  }

  TEST_CASE("what was not synced before a crash is not there, and what came before it is") {
    MemoryStore store;
    {
      Run run(2, store);
      REQUIRE(run.cluster.declare(0, a_durable_queue("q")) == "ok");
      run.cluster.publish("q", numbered(0, 3));
      store.hold();
      run.cluster.publish("q", numbered(3, 6));
      run.cluster.run();
    }
    Run run(2, store);
    CHECK(run.cluster.drain("q") == numbers(0, 3));
  }

  TEST_CASE("a deleted queue's messages do not come back with its namesake") {
    MemoryStore store;
    {
      Run run(2, store);
      REQUIRE(run.cluster.declare(0, a_durable_queue("q")) == "ok");
      run.cluster.publish("q", numbered(0, 3));
      REQUIRE(run.cluster.delete_queue(1, "q") == "ok");
      REQUIRE(run.cluster.declare(0, a_durable_queue("q")) == "ok");
    }
    Run run(2, store);
    CHECK(run.cluster.queue("q").ready_count() == 0);
  }

  TEST_CASE("sequences go on above those of settled messages") {
    MemoryStore store;
    {
      Run run(1, store);
      REQUIRE(run.cluster.declare(0, a_durable_queue("q")) == "ok");
      run.cluster.publish("q", numbered(0, 5));
      CHECK(run.cluster.drain("q").size() == 5);
    }
    Run run(1, store);
    run.cluster.publish("q", numbered(5, 6));
    CHECK(run.cluster.get("q", false)->delivery.seq >= 6);
  }

  TEST_CASE("a record that cannot be read ends the start") {
    for (const std::string_view prefix :
         {kVhostRecords, kExchangeRecords, kQueueRecords, kBindingRecords, kNextLaneRecord}) {
      CAPTURE(prefix);
      MemoryStore store;
      const SubmitterId submitter = store.add_submitter({});
      StoreBatch batch;
      batch.put_record(std::string(prefix) + "???", "garbage");
      store.submit(submitter, batch);
      store.reopen();
      ManualClock clock;
      Broker broker(2, clock, store, [](const StoreError&) {});
      const auto recovered = broker.recover("/");
      REQUIRE_FALSE(recovered);
      CHECK(recovered.error().kind == StoreError::Kind::corruption);
    }
  }
}
