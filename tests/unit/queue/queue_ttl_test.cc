#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "broker/core/message_records.h"
#include "broker/core/queue.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

using Millis = Milliseconds;

MessageRef with_ttl(std::string_view body, std::int64_t ttl_ms, bool is_persistent = false) {
  MessageParts parts;
  parts.ttl_ms = ttl_ms;
  parts.persistent = is_persistent;
  return Message::create(parts, body);
}

QueueDefinition with(QueueDefinition made, std::string_view key, std::int64_t value) {
  made.arguments.set(key, Value::int64(value));
  return made;
}

QueueDefinition with_queue_ttl(std::int64_t ttl_ms) {
  return with(transient_queue(), "x-message-ttl", ttl_ms);
}

}  // namespace

TEST_SUITE("Queue: time to live") {
  TEST_CASE("a message leaves at its deadline and not before") {
    QueueBench bench(with_queue_ttl(100));
    bench.publish({"a"});
    bench.pass(Millis(99));
    CHECK(bench.queue.ready_count() == 1);
    bench.pass(Millis(1));
    CHECK(bench.queue.ready_count() == 0);
    CHECK(bench.queue.held_bytes() == 0);
  }

  TEST_CASE("what expired with a consumer is gone when it returns, whatever its neighbours do") {
    QueueBench bench;
    bench.queue.enqueue(with_ttl("long", 60'000), bench.now);
    bench.queue.enqueue(with_ttl("short", 100), bench.now);
    FakeConsumer consumer;
    bench.consume(consumer, with_prefetch(2));
    CHECK(consumer.bodies() == Bodies{"long", "short"});
    bench.pass(Millis(100));
    consumer.open = false;
    bench.settle({1, 2}, Settlement::requeue);
    CHECK(bench.queue.ready_count() == 1);
    CHECK(bench.get(true)->delivery.seq == 1);
    CHECK_FALSE(bench.get(true));
  }

  TEST_CASE("a message expires on time however many before it were settled before they were due") {
    for (int settled = 0; settled < 200; ++settled) {
      CAPTURE(settled);
      QueueBench bench;
      bench.queue.enqueue(with_ttl("long", 60'000), bench.now);
      REQUIRE(bench.get(false));
      for (int i = 0; i < settled; ++i) {
        bench.queue.enqueue(with_ttl("short", 1000), bench.now);
        REQUIRE(bench.get(true));
      }
      bench.settle({1}, Settlement::requeue);
      bench.queue.enqueue(with_ttl("due", 100), bench.now);
      bench.pass(Millis(100));
      REQUIRE(bench.queue.ready_count() == 1);
    }
  }

  TEST_CASE("a queue without deadlines asks for no time") {
    QueueBench bench;
    bench.publish({"a", "b"});
    FakeConsumer consumer;
    bench.consume(consumer);
    bench.settle({1, 2}, Settlement::requeue);
    CHECK(bench.host.wake_ups.empty());
  }

  TEST_CASE("a steady flow asks for one wake-up per TTL, not per message") {
    QueueBench bench(with_queue_ttl(1000));
    FakeConsumer consumer;
    bench.consume(consumer, no_ack());
    for (int i = 0; i < 500; ++i) {
      bench.publish({"m"});
      bench.pass(Millis(10));
    }
    CHECK(consumer.deliveries.size() == 500);
    CHECK(bench.host.wake_ups.size() <= 1);
  }

  TEST_CASE("whatever the order of the deadlines, each message expires at its own") {
    QueueBench bench;
    const int ttls[] = {500, 100, 400, 200, 300, 100, 600, 0};
    for (const int ttl : ttls)
      bench.queue.enqueue(with_ttl(std::to_string(ttl), ttl == 0 ? -1 : ttl), bench.now);
    const std::size_t left[] = {8, 6, 5, 4, 3, 2, 1};
    for (const std::size_t expected : left) {
      CHECK(bench.queue.ready_count() == expected);
      bench.pass(Millis(100));
      bench.queue.check_invariants();
    }
    CHECK(bench.get_all() == Bodies{"0"});
  }

  TEST_CASE("an expired message is not delivered although no timer ran") {
    QueueBench bench(with_queue_ttl(100));
    bench.publish({"a"});
    bench.now += Millis(50);
    bench.publish({"b"});
    bench.now += Millis(60);
    FakeConsumer consumer;
    bench.consume(consumer);
    CHECK(consumer.bodies() == Bodies{"b"});
    bench.now += Millis(100);
    bench.settle({2}, Settlement::requeue);
    CHECK(consumer.deliveries.size() == 1);
    CHECK(bench.queue.ready_count() == 0);
    CHECK(bench.queue.unacked_count() == 0);
  }

  TEST_CASE("an unacknowledged message keeps its deadline and does not expire") {
    QueueBench bench(with_queue_ttl(100));
    bench.publish({"a", "b"});
    REQUIRE(bench.get(false));
    bench.pass(Millis(50));
    REQUIRE(bench.get(false));
    bench.settle({2}, Settlement::requeue);
    bench.pass(Millis(49));
    CHECK(bench.queue.ready_count() == 1);
    bench.pass(Millis(1));
    CHECK(bench.queue.ready_count() == 0);
    CHECK(bench.queue.unacked_count() == 1);
  }

  TEST_CASE("messages in the middle of those that returned expire too") {
    QueueBench bench;
    for (const int ttl : {500, 100, 300, 200})
      bench.queue.enqueue(with_ttl(std::to_string(ttl), ttl), bench.now);
    for (int i = 0; i < 4; ++i)
      REQUIRE(bench.get(false));
    bench.settle({1, 2, 3, 4}, Settlement::requeue);
    bench.pass(Millis(250));
    bench.queue.check_invariants();
    CHECK(bench.get_all() == Bodies{"500", "300"});
  }

  TEST_CASE("places of settled messages in the heap do not pile up") {
    QueueBench bench;
    bench.queue.enqueue(transient("forever"), bench.now);
    REQUIRE(bench.get(false));
    for (int i = 0; i < 10'000; ++i) {
      bench.queue.enqueue(with_ttl("m", 3'600'000), bench.now);
      REQUIRE(bench.get(true));
    }
    bench.pass(Millis(3'600'000));
    CHECK(bench.queue.unacked_count() == 1);
  }

  TEST_CASE("with a TTL of 0 only a waiting consumer gets a message") {
    QueueBench bench(with_queue_ttl(0));
    bench.publish({"lost"});
    CHECK(bench.queue.ready_count() == 0);
    FakeConsumer consumer;
    bench.consume(consumer, with_prefetch(1));
    bench.publish({"got", "lost"});
    CHECK(consumer.bodies() == Bodies{"got"});
    CHECK(bench.queue.ready_count() == 0);
  }

  TEST_CASE("the deadline is stored with the message") {
    QueueBench bench(durable_queue());
    bench.queue.enqueue(with_ttl("a", 100, true), bench.now);
    bench.queue.enqueue(persistent("b"), bench.now);
    bench.host.commit();
    CHECK(bench.host.stored.at(1).expires_at == bench.now + Millis(100));
    CHECK(bench.host.stored.at(2).expires_at == kNoTime);
  }

  TEST_CASE("the lane is marked once as one with deadlines, and the mark goes with it") {
    QueueBench bench(durable_queue());
    bench.queue.enqueue(with_ttl("a", 100), bench.now);
    CHECK(bench.batch.records().empty());  // transient: a restart forgets it
    bench.queue.enqueue(with_ttl("a", 100, true), bench.now);
    bench.queue.enqueue(with_ttl("b", 100, true), bench.now);
    REQUIRE(bench.batch.records().size() == 1);
    CHECK(decode_deadline_record(bench.batch.records()[0].key) == LaneId{9});
    bench.batch.clear();
    bench.queue.close();
    bench.queue.drop_lanes();
    REQUIRE(bench.batch.records().size() == 1);
    CHECK(bench.batch.operations().front().kind == StoreBatch::Operation::Kind::delete_record);
  }

  TEST_CASE("after a restart messages expire although nobody looks at them") {
    QueueBench bench(durable_queue());
    std::vector<StoredEntry> entries;
    for (Sequence seq = 1; seq <= 5; ++seq) {
      StoredEntry& entry = entries.emplace_back();
      entry.seq = seq;
      entry.message = persistent(std::to_string(seq));
      entry.expires_at = seq == 3 ? kNoTime : bench.now + Millis(100) * static_cast<int>(seq);
    }
    bench.queue.recover_deadlines(LaneId{9});
    bench.recover(entries, 6);
    bench.pass(Millis(250));
    CHECK(bench.queue.ready_count() == 3);
    bench.pass(Millis(250));
    CHECK(bench.get_all() == Bodies{"3"});
    CHECK(bench.host.stored.size() == 1);
  }

  TEST_CASE("what was paged out expires when it comes to the head") {
    QueueBench bench(with(durable_queue(), "x-message-ttl", 100), 0);
    for (int i = 0; i < 300; ++i)
      bench.queue.enqueue(persistent(std::string(1000, 'x')), bench.now);
    bench.pass(Millis(50));
    for (int i = 0; i < 10; ++i)
      bench.queue.enqueue(persistent(std::string(1000, 'y')), bench.now);
    bench.turns();
    CHECK(bench.queue.ready_count() == 310);
    bench.pass(Millis(50));
    CHECK(bench.queue.ready_count() == 10);
    bench.pass(Millis(50));
    CHECK(bench.queue.ready_count() == 0);
    bench.host.commit();
    CHECK(bench.host.stored.empty());
    CHECK(bench.host.memory().used() == 0);
  }

  TEST_CASE("a paged-out message that returns too late is gone without being read") {
    QueueBench bench(with(durable_queue(), "x-message-ttl", 100), 0);
    for (int i = 0; i < 10; ++i)
      bench.queue.enqueue(persistent(std::string(1000, 'x')), bench.now);
    const auto got = bench.get(false);
    REQUIRE(got);
    bench.now += Millis(200);
    bench.host.reads.clear();
    bench.settle({got->delivery.seq}, Settlement::requeue);
    bench.turns();
    CHECK(bench.queue.ready_count() == 0);
    CHECK(bench.queue.unacked_count() == 0);
  }

  TEST_CASE("a TTL of ten years is no overflow") {
    QueueBench bench(with_queue_ttl(315'360'000'000));
    bench.publish({"a"});
    bench.pass(Millis(1'000'000));
    CHECK(bench.queue.ready_count() == 1);
  }
}

TEST_SUITE("Queue: lease") {
  TEST_CASE("of very many that expire at once each turn sees to some, and none is delivered") {
    QueueBench bench;
    for (int i = 0; i < 30'000; ++i)
      bench.queue.enqueue(with_ttl("dead", 100), bench.now);
    bench.queue.enqueue(transient("live"), bench.now);
    bench.now += Millis(100);
    FakeConsumer consumer;
    bench.consume(consumer);
    CHECK(consumer.bodies().empty());
    CHECK(bench.queue.ready_count() > 20'000);
    bench.pass(Millis(1));
    CHECK(bench.queue.ready_count() > 10'000);
    CHECK(consumer.bodies().empty());
    bench.pass(Millis(9));
    CHECK(consumer.bodies() == Bodies{"live"});
  }

  TEST_CASE("a get waits until all that has expired is gone") {
    QueueBench bench;
    for (int i = 0; i < 10'000; ++i)
      bench.queue.enqueue(with_ttl("dead", 100), bench.now);
    bench.queue.enqueue(transient("live"), bench.now);
    bench.now += Millis(100);
    std::string body;
    bench.queue.get(true, [&](GetResult got) { body = (*got)->delivery.message->body(); });
    CHECK(body.empty());
    bench.pass(Millis(10));
    CHECK(body == "live");
  }

  TEST_CASE("an unused queue asks to be deleted once its time is over") {
    QueueBench bench(with(transient_queue(), "x-expires", 100));
    bench.pass(Millis(60));
    bench.publish({"a"});  // no use
    bench.pass(Millis(39));
    CHECK(bench.host.deletions == 0);
    bench.pass(Millis(1));
    CHECK(bench.host.deletions == 1);
  }

  TEST_CASE("a get, a declare and a consumer are uses") {
    QueueBench bench(with(transient_queue(), "x-expires", 100));
    bench.pass(Millis(60));
    CHECK_FALSE(bench.get(true));
    bench.pass(Millis(60));
    bench.queue.touch();
    bench.pass(Millis(60));
    FakeConsumer port;
    QueueConsumer& consumer = bench.consume(port);
    bench.pass(Millis(1000));
    CHECK_FALSE(bench.queue.cancel(consumer));
    bench.pass(Millis(99));
    CHECK(bench.host.deletions == 0);
    bench.pass(Millis(1));
    CHECK(bench.host.deletions == 1);
  }
}
