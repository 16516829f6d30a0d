#include <set>
#include <string>

#include <doctest/doctest.h>

#include "broker/core/queue.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

QueueDefinition with_dlx(QueueDefinition made) {
  made.arguments.set("x-dead-letter-exchange", Value::long_string("dlx"));
  return made;
}

// With little memory they leave it then.
void hand_out_large(QueueBench& bench, FakeConsumer& consumer, int count) {
  for (int i = 0; i < count; ++i)
    bench.queue.enqueue(persistent(std::to_string(i) + std::string(1000, '.')), bench.now);
  bench.consume(consumer);
  bench.turns();
  REQUIRE(consumer.deliveries.size() == static_cast<std::size_t>(count));
}

}  // namespace

TEST_SUITE("Queue: dead letters") {
  TEST_CASE("a rejected message counts no more and keeps its place until it is buried") {
    QueueBench bench(with_dlx(durable_queue()));
    bench.queue.enqueue(persistent("a"), bench.now);
    REQUIRE(bench.get(false));
    bench.host.commit();
    bench.settle({1}, Settlement::discard);
    CHECK(bench.queue.ready_count() == 0);
    CHECK(bench.queue.unacked_count() == 0);
    CHECK(bench.batch.empty());
    bench.queue.check_invariants();
    CHECK(bench.bury() == Bodies{"a rejected"});
    bench.host.commit();
    CHECK(bench.host.stored.empty());
    CHECK(bench.queue.held_bytes() == 0);
  }

  TEST_CASE("the dead in the middle of the queue are in nobody's way") {
    QueueDefinition definition = with_dlx(transient_queue());
    QueueBench bench(definition);
    MessageParts parts;
    parts.ttl_ms = 100;
    bench.publish({"a"});
    bench.queue.enqueue(Message::create(parts, "b"), bench.now);
    bench.publish({"c"});
    bench.pass(Milliseconds(100));
    FakeConsumer consumer;
    bench.consume(consumer);
    CHECK(consumer.bodies() == Bodies{"a", "c"});
    CHECK(bench.bury() == Bodies{"b expired"});
  }

  TEST_CASE("a message is dropped when its queue has no dead letter exchange any more") {
    QueueBench bench(with_dlx(durable_queue()), 0);
    FakeConsumer consumer;
    hand_out_large(bench, consumer, 20);
    bench.settle({18, 19}, Settlement::discard);  // they left memory: they are read first
    QueueSettings settings = bench.queue.settings();
    settings.dead_letter_exchange.reset();
    bench.queue.apply(settings, bench.now);
    bench.turns();
    CHECK(bench.bury().empty());
    CHECK(bench.queue.unacked_count() == 18);
    bench.host.commit();
    CHECK(bench.host.stored.size() == 18);
  }

  TEST_CASE("a message that left memory is read back to be dead-lettered") {
    QueueBench bench(with_dlx(durable_queue()), 0);
    FakeConsumer consumer;
    hand_out_large(bench, consumer, 20);
    for (Sequence seq = 1; seq <= 20; ++seq)
      bench.queue.settle(seq, Settlement::discard);
    bench.queue.pump();
    CHECK(bench.queue.unacked_count() == 0);
    Bodies buried;
    for (int round = 0; round < 40 && buried.size() < 20; ++round) {
      bench.turn();
      bench.queue.check_invariants();
      for (const std::string& one : bench.bury())
        buried.push_back(one);
    }
    REQUIRE(buried.size() == 20);
    CHECK(std::set<std::string>(buried.begin(), buried.end()).size() == 20);
    bench.turns();
    CHECK(bench.host.stored.empty());
    CHECK(bench.host.memory().used() == 0);
  }

  TEST_CASE("what left memory can be read ahead of its rejection, which then needs one turn") {
    QueueBench bench(with_dlx(durable_queue()), 0);
    FakeConsumer consumer;
    hand_out_large(bench, consumer, 20);
    bool loaded = false;
    bench.queue.load({3, 7, 19, 99}, [&] { loaded = true; });
    CHECK_FALSE(loaded);
    bench.turns();
    REQUIRE(loaded);
    for (const Sequence seq : Sequences{3, 7, 19})
      bench.queue.settle(seq, Settlement::discard);
    CHECK(bench.bury().size() == 3);
    CHECK(bench.queue.unacked_count() == 17);
    loaded = false;
    bench.queue.load({3, 7}, [&] { loaded = true; });  // both are gone
    CHECK(loaded);
  }

  TEST_CASE("nobody waits for what the store lost, or for a queue that closes") {
    QueueBench bench(with_dlx(durable_queue()), 0);
    FakeConsumer consumer;
    hand_out_large(bench, consumer, 20);
    bench.host.stored.erase(4);
    int loaded = 0;
    bench.queue.load({4}, [&] { ++loaded; });
    bench.turns();
    CHECK(loaded == 1);
    bench.queue.load({5}, [&] { ++loaded; });
    bench.queue.close();
    bench.turns();
    CHECK(loaded == 2);
  }

  TEST_CASE("one that the store lost stops nobody") {
    QueueBench bench(with_dlx(durable_queue()), 0);
    for (int i = 0; i < 20; ++i)
      bench.queue.enqueue(persistent(std::string(1000, '.')), bench.now);
    FakeConsumer consumer;
    bench.consume(consumer, with_prefetch(15));
    bench.turns();
    REQUIRE(consumer.deliveries.size() == 15);
    bench.host.stored.erase(15);
    bench.settle({15}, Settlement::discard);
    bench.turns();
    CHECK(bench.host.dead.empty());
    CHECK(consumer.deliveries.size() == 16);
  }

  TEST_CASE("neither purge nor no-ack makes dead letters") {
    QueueBench bench(with_dlx(transient_queue()));
    bench.publish({"a", "b"});
    REQUIRE(bench.get(true));
    bench.queue.purge();
    CHECK(bench.host.dead.empty());
  }
}
