#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "broker/core/queue.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

constexpr LaneId kLane{9};  // of durable_queue()

// What the batch holds, one word per operation: "put1", "settle1", "drop", "delivered3".
Bodies recorded(const StoreBatch& batch) {
  using Kind = StoreBatch::Operation::Kind;
  Bodies words;
  for (const StoreBatch::Operation& operation : batch.operations()) {
    CHECK(operation.lane == kLane);
    std::string word;
    switch (operation.kind) {
      case Kind::put:
        word = "put" + std::to_string(operation.seq);
        break;
      case Kind::settle:
        word = "settle" + std::to_string(operation.seq);
        break;
      case Kind::settle_range:
        word = "settle" + std::to_string(operation.seq) + ".." + std::to_string(operation.end);
        break;
      case Kind::drop_lane:
        word = "drop";
        break;
      case Kind::delivered_below:
        word = "delivered" + std::to_string(operation.seq);
        break;
      default:
        word = "unexpected";
    }
    words.push_back(word);
  }
  return words;
}

Bodies take_recorded(QueueBench& bench) {
  Bodies words = recorded(bench.batch);
  bench.batch.clear();
  return words;
}

StoredEntry entry(Sequence seq, std::string_view body, bool redelivered = false) {
  StoredEntry entry;
  entry.lane = kLane;
  entry.seq = seq;
  entry.message = persistent(body);
  entry.redelivered = redelivered;
  return entry;
}

}  // namespace

TEST_SUITE("Queue: what is stored") {
  TEST_CASE("only persistent messages of durable queues are") {
    for (const bool durable : {false, true}) {
      for (const bool is_persistent : {false, true}) {
        CAPTURE(durable);
        CAPTURE(is_persistent);
        QueueBench bench(durable ? durable_queue() : transient_queue());
        const bool stored = durable && is_persistent;
        const Enqueued result =
            bench.queue.enqueue(is_persistent ? persistent("m") : transient("m"), bench.now);
        CHECK(result == (stored ? Enqueued::stored : Enqueued::held));
        CHECK(recorded(bench.batch) == (stored ? Bodies{"put1"} : Bodies{}));
      }
    }
  }

  TEST_CASE("a put holds the message itself and its time") {
    QueueBench bench(durable_queue());
    const MessageRef message = persistent("shared");
    bench.queue.enqueue(message, bench.now);
    const StoreBatch::Operation& put = bench.batch.operations().at(0);
    CHECK(put.message.get() == message.get());
    CHECK(put.enqueued_at == bench.now);
    CHECK(put.expires_at == kNoTime);
  }

  TEST_CASE("transient messages use sequences up and are never settled in the store") {
    QueueBench bench(durable_queue());
    bench.queue.enqueue(transient("1"), bench.now);
    bench.queue.enqueue(persistent("2"), bench.now);
    bench.queue.enqueue(transient("3"), bench.now);
    bench.queue.enqueue(persistent("4"), bench.now);
    CHECK(take_recorded(bench) == Bodies{"put2", "put4"});
    while (bench.get(true)) {
    }
    CHECK(take_recorded(bench) == Bodies{"settle2", "settle4"});
  }

  TEST_CASE("an entry is settled when it leaves for good, not when it comes back") {
    QueueBench bench(durable_queue());
    for (const char* body : {"1", "2", "3"})
      bench.queue.enqueue(persistent(body), bench.now);
    bench.batch.clear();
    for (int i = 0; i < 3; ++i)
      bench.get(false);
    CHECK(take_recorded(bench) == Bodies{});
    bench.queue.settle(1, Settlement::requeue);
    CHECK(take_recorded(bench) == Bodies{});
    bench.queue.settle(2, Settlement::ack);
    CHECK(take_recorded(bench) == Bodies{"settle2"});
    bench.queue.settle(3, Settlement::discard);
    CHECK(take_recorded(bench) == Bodies{"settle3"});
    bench.queue.settle(3, Settlement::ack);
    CHECK(take_recorded(bench) == Bodies{});
  }

  TEST_CASE("a delivery that needs no ack is settled as it goes out") {
    QueueBench bench(durable_queue());
    FakeConsumer consumer;
    bench.consume(consumer, no_ack());
    bench.queue.enqueue(persistent("1"), bench.now);
    CHECK(recorded(bench.batch) == Bodies{"put1", "settle1"});
    CHECK(consumer.bodies() == Bodies{"1"});
  }

  TEST_CASE("purge settles every stored entry that was ready") {
    QueueBench bench(durable_queue());
    for (const char* body : {"1", "2", "3"})
      bench.queue.enqueue(persistent(body), bench.now);
    bench.get(false);
    bench.batch.clear();
    CHECK(bench.queue.purge() == 2);
    CHECK(recorded(bench.batch) == Bodies{"settle2", "settle3"});
  }

  TEST_CASE("close leaves the lane to its home shard, and nothing is put into it afterwards") {
    QueueBench bench(durable_queue());
    bench.queue.enqueue(persistent("1"), bench.now);
    bench.queue.enqueue(persistent("2"), bench.now);
    bench.get(false);
    bench.batch.clear();
    CHECK(bench.queue.close() == 1);
    bench.queue.settle(1, Settlement::ack);
    CHECK(bench.queue.enqueue(persistent("3"), bench.now) == Enqueued::held);
    CHECK(recorded(bench.batch) == Bodies{"settle1"});
  }

  TEST_CASE("a queue that is not durable leaves the batch alone") {
    QueueBench bench;
    bench.queue.enqueue(persistent("1"), bench.now);
    bench.queue.enqueue(persistent("2"), bench.now);
    bench.get(true);
    bench.queue.purge();
    bench.queue.record_delivered();
    bench.queue.close();
    CHECK(bench.batch.empty());
  }

  TEST_CASE("a clean stop tells below which sequence consumers may have seen entries") {
    QueueBench bench(durable_queue());
    for (const char* body : {"1", "2", "3"})
      bench.queue.enqueue(persistent(body), bench.now);
    bench.batch.clear();
    bench.queue.record_delivered();
    CHECK(take_recorded(bench) == Bodies{"delivered1"});
    const auto got = bench.get(false);
    bench.queue.settle(got->delivery.seq, Settlement::requeue);
    bench.queue.record_delivered();
    CHECK(take_recorded(bench) == Bodies{"delivered2"});
  }
}

TEST_SUITE("Queue: recovery") {
  TEST_CASE("recovered entries are ready in their order and new ones come after them") {
    QueueBench bench(durable_queue());
    bench.recover({entry(3, "three", true), entry(4, "four"), entry(900, "nine hundred")}, 1000);
    bench.queue.check_invariants();
    CHECK(bench.queue.ready_count() == 3);
    CHECK(bench.queue.ready_bytes() == 5 + 4 + 12);
    CHECK(bench.batch.empty());
    CHECK(bench.host.reads.empty());  // nobody wants them yet

    bench.queue.enqueue(persistent("new"), bench.now);
    CHECK(recorded(bench.batch) == Bodies{"put1000"});
    FakeConsumer consumer;
    bench.consume(consumer);
    bench.turns();
    CHECK(consumer.bodies() == Bodies{"three", "four", "nine hundred", "new"});
    CHECK(consumer.deliveries[0].redelivered);
    CHECK_FALSE(consumer.deliveries[1].redelivered);
  }

  TEST_CASE("recovered entries are settled in the store like any other") {
    QueueBench bench(durable_queue());
    bench.recover({entry(5, "a"), entry(7, "b")}, 8);
    FakeConsumer consumer;
    bench.consume(consumer);
    bench.turns();
    bench.settle({7, 5}, Settlement::ack);
    // The gap is closed on reading: nothing will ever come of it.
    CHECK(recorded(bench.batch) == Bodies{"settle6..7", "settle7", "settle5"});
    bench.host.commit();
    CHECK(bench.host.stored.empty());
    CHECK(bench.queue.unacked_count() == 0);
  }

  TEST_CASE("an empty queue goes on where its lane says") {
    for (const Sequence next : {Sequence{1}, Sequence{2}, Sequence{128}, Sequence{1'000'000'007}}) {
      CAPTURE(next);
      QueueBench bench(durable_queue());
      bench.recover({}, next);
      bench.queue.enqueue(persistent("x"), bench.now);
      CHECK(recorded(bench.batch) == Bodies{"put" + std::to_string(next)});
      CHECK(bench.get(false)->delivery.seq == next);
    }
  }

  TEST_CASE("entries far apart and across chunk borders come back whole") {
    const Sequences sequences{1, 127, 128, 129, 255, 256, 5000, 100'000, 100'001};
    QueueBench bench(durable_queue());
    std::vector<StoredEntry> entries;
    for (const Sequence seq : sequences)
      entries.push_back(entry(seq, std::to_string(seq)));
    bench.recover(entries, 100'002);
    bench.queue.check_invariants();
    Sequences got;
    while (const auto next = bench.get(false)) {
      got.push_back(next->delivery.seq);
      CHECK(next->delivery.message->body() == std::to_string(next->delivery.seq));
    }
    CHECK(got == sequences);
    for (const Sequence seq : sequences)
      bench.queue.settle(seq, Settlement::requeue);
    bench.queue.check_invariants();
    CHECK(bench.queue.purge() == sequences.size());
  }

  TEST_CASE("a recovered entry that comes back unacknowledged after a clean stop stays honest") {
    QueueBench bench(durable_queue());
    bench.recover({entry(3, "seen", true), entry(5, "unseen")}, 6);
    bench.queue.record_delivered();
    // Below the first fresh entry nothing is unseen, and what was seen before stays marked there.
    CHECK(recorded(bench.batch) == Bodies{"delivered3"});
  }
}
