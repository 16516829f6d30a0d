#include <algorithm>
#include <string>

#include <doctest/doctest.h>

#include "broker/core/queue.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

MessageRef of_priority(int priority, std::string_view body, bool is_persistent = false) {
  MessageParts parts;
  parts.priority = static_cast<std::uint8_t>(priority);
  parts.persistent = is_persistent;
  return Message::create(parts, body);
}

QueueDefinition with_levels(QueueDefinition made, int max_priority) {
  made.arguments.set("x-max-priority", Value::int32(max_priority));
  return made;
}

}  // namespace

TEST_SUITE("Queue: priorities") {
  TEST_CASE("255 levels, each with its own order") {
    QueueBench bench(with_levels(transient_queue(), 255));
    for (int round = 0; round < 2; ++round) {
      for (int priority = 0; priority <= 255; ++priority)
        bench.queue.enqueue(of_priority(priority, std::to_string(priority)), bench.now);
    }
    CHECK(bench.queue.ready_count() == 512);
    const Bodies bodies = bench.get_all();
    REQUIRE(bodies.size() == 512);
    for (std::size_t i = 0; i < 512; ++i)
      REQUIRE(bodies[i] == std::to_string(255 - i / 2));
    CHECK(bench.queue.unacked_count() == 512);
  }

  TEST_CASE("a delivery is settled in its own level") {
    QueueBench bench(with_levels(transient_queue(), 9));
    bench.queue.enqueue(of_priority(0, "low"), bench.now);
    bench.queue.enqueue(of_priority(9, "high"), bench.now);
    FakeConsumer consumer;
    bench.consume(consumer);
    REQUIRE(consumer.bodies() == Bodies{"high", "low"});
    REQUIRE(consumer.deliveries[0].seq != consumer.deliveries[1].seq);
    bench.settle({consumer.deliveries[0].seq}, Settlement::ack);
    CHECK(bench.queue.unacked_count() == 1);
    consumer.open = false;
    bench.settle({consumer.deliveries[1].seq}, Settlement::requeue);
    CHECK(bench.get_all() == Bodies{"low"});
    bench.queue.settle(~Sequence{0}, Settlement::ack);  // of a level that is not there
  }

  TEST_CASE("each level has a lane of its own, beginning at the queue's") {
    QueueBench bench(with_levels(durable_queue(), 3));
    for (const int priority : {0, 3, 1})
      bench.queue.enqueue(of_priority(priority, "m", true), bench.now);
    std::vector<LaneId> lanes;
    for (const StoreBatch::Operation& operation : bench.batch.operations())
      lanes.push_back(operation.lane);
    CHECK(lanes == std::vector<LaneId>{LaneId{9}, LaneId{12}, LaneId{10}});
    bench.batch.clear();
    bench.queue.purge();
    bench.batch.clear();
    bench.queue.close();
    bench.queue.drop_lanes();
    CHECK(bench.batch.operations().size() == 3);
    bench.batch.clear();
  }

  TEST_CASE("a higher level on disk is awaited") {
    QueueBench bench(with_levels(durable_queue(), 1));
    RecoveredLane lane;
    lane.lane = LaneId{10};
    lane.next_seq = 2;
    lane.tally = {1, 4};
    bench.queue.recover(lane);
    bench.queue.enqueue(of_priority(0, "low"), bench.now);
    FakeConsumer consumer;
    bench.consume(consumer);
    CHECK(consumer.deliveries.empty());
    REQUIRE(bench.host.reads.size() == 1);
    CHECK(bench.host.reads[0].lane == LaneId{10});
    LanePage page;
    page.next = 2;
    StoredEntry& entry = page.entries.emplace_back();
    entry.lane = LaneId{10};
    entry.seq = 1;
    entry.message = of_priority(1, "high", true);
    bench.host.reads.clear();
    bench.queue.paged_in(LaneId{10}, std::move(page));
    CHECK(consumer.bodies() == Bodies{"high", "low"});
  }

  TEST_CASE("a head on disk that has to go is dropped once, however often that is looked at") {
    QueueDefinition definition = with_levels(durable_queue(), 1);
    definition.arguments.set("x-max-length-bytes", Value::int32(100));
    QueueBench bench(definition);
    RecoveredLane lane;
    lane.lane = LaneId{10};
    lane.next_seq = 2;
    lane.tally = {1, 600};
    bench.queue.recover(lane);
    bench.queue.apply(bench.queue.settings(), bench.now);
    bench.queue.apply(bench.queue.settings(), bench.now);
    CHECK(bench.queue.ready_count() == 0);
  }

  TEST_CASE("messages of every level expire") {
    QueueDefinition definition = with_levels(transient_queue(), 3);
    definition.arguments.set("x-message-ttl", Value::int32(100));
    QueueBench bench(definition);
    for (const int priority : {0, 1, 2, 3})
      bench.queue.enqueue(of_priority(priority, "m"), bench.now);
    bench.pass(Milliseconds(100));
    CHECK(bench.queue.ready_count() == 0);
  }
}
