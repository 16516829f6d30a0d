#include <string>

#include <doctest/doctest.h>

#include "broker/core/queue.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

TEST_SUITE("Queue: order") {
  TEST_CASE("messages leave in the order in which they came") {
    QueueBench bench;
    bench.publish({"a", "b", "c"});
    FakeConsumer consumer;
    bench.consume(consumer);
    bench.publish({"d"});
    CHECK(consumer.bodies() == Bodies{"a", "b", "c", "d"});
    CHECK(consumer.deliveries[0].seq == 1);
    CHECK(consumer.deliveries[3].seq == 4);
    CHECK_FALSE(consumer.deliveries[0].redelivered);
    CHECK(bench.queue.ready_count() == 0);
    CHECK(bench.queue.unacked_count() == 4);
  }

  TEST_CASE("deliveries begin with the pump after consume, not inside it") {
    QueueBench bench;
    bench.publish({"a"});
    FakeConsumer consumer;
    REQUIRE(bench.queue.consume(consumer, {}));
    CHECK(consumer.deliveries.empty());
    bench.queue.pump();
    CHECK(consumer.bodies() == Bodies{"a"});
  }

  SCENARIO("requeued messages return to their old places") {
    GIVEN("a consumer that holds a, b, c, d and a queue with e behind them") {
      QueueBench bench;
      FakeConsumer consumer;
      bench.publish({"a", "b", "c", "d", "e"});
      QueueConsumer& record = bench.consume(consumer, with_prefetch(4));
      REQUIRE(consumer.bodies() == Bodies{"a", "b", "c", "d"});

      WHEN("some come back, the youngest first") {
        CHECK_FALSE(bench.queue.cancel(record));
        bench.settle({4, 1, 3}, Settlement::requeue);
        THEN("they go first, oldest first, marked as redelivered") {
          CHECK(bench.queue.ready_count() == 4);
          const auto first = bench.get(false);
          CHECK(first->delivery.message->body() == "a");
          CHECK(first->delivery.redelivered);
          CHECK(first->ready_left == 3);
          CHECK(bench.get_all() == Bodies{"c", "d", "e"});
        }
        THEN("one that comes back later overtakes younger ones") {
          bench.settle({2}, Settlement::requeue);
          CHECK(bench.get_all() == Bodies{"a", "b", "c", "d", "e"});
        }
      }
      WHEN("two come back in one group to a consumer that may have two") {
        consumer.deliveries.clear();
        bench.settle({3, 2}, Settlement::requeue);
        THEN("it gets them again in their order, before what is fresh") {
          CHECK(consumer.bodies() == Bodies{"b", "c"});
        }
      }
      WHEN("messages never delivered follow redelivered ones") {
        CHECK_FALSE(bench.queue.cancel(record));
        bench.settle({1, 2, 3, 4}, Settlement::requeue);
        const auto a = bench.get(true);
        CHECK(a->delivery.redelivered);
        for (int i = 0; i < 3; ++i)
          bench.get(true);
        const auto e = bench.get(true);
        THEN("they are not marked") {
          CHECK(e->delivery.message->body() == "e");
          CHECK_FALSE(e->delivery.redelivered);
        }
      }
    }
  }

  TEST_CASE("a message stays redelivered through every further round") {
    QueueBench bench;
    bench.publish({"a"});
    for (int round = 0; round < 3; ++round) {
      const auto got = bench.get(false);
      REQUIRE(got);
      CHECK(got->delivery.redelivered == (round > 0));
      bench.settle({got->delivery.seq}, Settlement::requeue);
    }
  }
}

TEST_SUITE("Queue: consumers") {
  TEST_CASE("messages go round among equal consumers") {
    QueueBench bench;
    FakeConsumer a, b, c;
    for (FakeConsumer* consumer : {&a, &b, &c})
      bench.consume(*consumer);
    bench.publish({"1", "2", "3", "4", "5"});
    CHECK(a.bodies() == Bodies{"1", "4"});
    CHECK(b.bodies() == Bodies{"2", "5"});
    CHECK(c.bodies() == Bodies{"3"});
  }

  TEST_CASE("a consumer of higher priority has everything while it can take it") {
    QueueBench bench;
    FakeConsumer low, high;
    bench.consume(low);
    bench.consume(high, with_priority(5, 2));
    bench.publish({"1", "2", "3"});
    CHECK(high.bodies() == Bodies{"1", "2"});
    CHECK(low.bodies() == Bodies{"3"});
    bench.settle({1}, Settlement::ack);
    bench.publish({"4", "5"});
    CHECK(high.bodies() == Bodies{"1", "2", "4"});
    CHECK(low.bodies() == Bodies{"3", "5"});
  }

  TEST_CASE("prefetch bounds what is unacknowledged, for no-ack consumers it means nothing") {
    QueueBench bench;
    FakeConsumer acking, fast;
    bench.consume(acking, with_prefetch(2));
    bench.publish({"1", "2", "3"});
    CHECK(acking.bodies() == Bodies{"1", "2"});
    CHECK(bench.queue.ready_count() == 1);
    bench.settle({2}, Settlement::ack);
    CHECK(acking.bodies() == Bodies{"1", "2", "3"});

    bench.consume(fast, no_ack());
    bench.publish({"4", "5"});
    CHECK(fast.bodies() == Bodies{"4", "5"});
    CHECK(bench.queue.unacked_count() == 2);
  }

  TEST_CASE("every way to settle frees a place of the prefetch, once") {
    for (const Settlement how : {Settlement::ack, Settlement::discard, Settlement::requeue}) {
      CAPTURE(static_cast<int>(how));
      QueueBench bench;
      FakeConsumer consumer;
      bench.consume(consumer, with_prefetch(1));
      bench.publish({"1", "2", "3"});
      bench.settle({1}, how);
      CHECK(consumer.deliveries.size() == 2);
      const bool same_again = how == Settlement::requeue;
      CHECK(consumer.bodies()[1] == (same_again ? "1" : "2"));
      if (!same_again) bench.settle({1}, how);  // unknown by now
      CHECK(consumer.deliveries.size() == 2);
    }
  }

  TEST_CASE("a settlement for what is not outstanding is ignored") {
    QueueBench bench;
    bench.publish({"a", "b"});
    const auto got = bench.get(false);
    for (const Sequence seq : {Sequence{0}, Sequence{2}, Sequence{3}, Sequence{UINT64_MAX}}) {
      for (const Settlement how : {Settlement::ack, Settlement::discard, Settlement::requeue}) {
        bench.queue.settle(seq, how);
      }
    }
    bench.queue.check_invariants();
    CHECK(bench.queue.ready_count() == 1);
    CHECK(bench.queue.unacked_count() == 1);
    bench.queue.settle(got->delivery.seq, Settlement::requeue);
    bench.queue.settle(got->delivery.seq, Settlement::requeue);
    bench.queue.settle(got->delivery.seq, Settlement::ack);
    CHECK(bench.queue.ready_count() == 2);
  }

  TEST_CASE("a consumer without room gets nothing until it resumes") {
    QueueBench bench;
    FakeConsumer full, other;
    QueueConsumer& record = bench.consume(full);
    full.open = false;
    bench.publish({"1", "2"});
    CHECK(full.deliveries.empty());
    CHECK(bench.queue.ready_count() == 2);
    full.open = true;
    bench.queue.resume(record);
    CHECK(full.bodies() == Bodies{"1", "2"});
  }

  TEST_CASE("an exclusive consumer is alone") {
    QueueBench bench;
    FakeConsumer first, second;
    const std::string in_use = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";
    SUBCASE("nobody may join it") {
      QueueConsumer& alone = bench.consume(first, exclusive());
      for (const ConsumerOptions& options : {ConsumerOptions{}, exclusive()}) {
        const auto refused = bench.queue.consume(second, options);
        REQUIRE_FALSE(refused);
        CHECK(reply_text(refused.error()) == in_use);
      }
      bench.publish({"a"});
      CHECK_FALSE(bench.queue.cancel(alone));  // with a delivery outstanding
      CHECK(bench.queue.consume(second, {}));
    }
    SUBCASE("it may join nobody") {
      QueueConsumer& there = bench.consume(first);
      const auto refused = bench.queue.consume(second, exclusive());
      REQUIRE_FALSE(refused);
      CHECK(reply_text(refused.error()) == in_use);
      CHECK(bench.queue.consumer_count() == 1);
      CHECK_FALSE(bench.queue.cancel(there));
      CHECK(bench.queue.consume(second, exclusive()));
    }
  }

  SCENARIO("a cancelled consumer keeps what it has") {
    GIVEN("a consumer with two deliveries outstanding") {
      QueueBench bench;
      FakeConsumer consumer, other;
      QueueConsumer& record = bench.consume(consumer, with_prefetch(2));
      bench.publish({"a", "b", "c"});
      WHEN("it is cancelled") {
        CHECK_FALSE(bench.queue.cancel(record));
        THEN("the deliveries stay unacknowledged and no further ones follow") {
          CHECK(bench.queue.consumer_count() == 0);
          CHECK(bench.queue.unacked_count() == 2);
          bench.publish({"d"});
          CHECK(consumer.bodies() == Bodies{"a", "b"});
          CHECK(consumer.cancels == 0);  // it was the one who asked
        }
        THEN("each can be settled in its own way") {
          bench.settle({1}, Settlement::ack);
          bench.settle({2}, Settlement::requeue);
          CHECK(bench.queue.unacked_count() == 0);
          bench.consume(other);
          CHECK(other.bodies() == Bodies{"b", "c"});
        }
      }
    }
  }

  TEST_CASE("cancel says when an auto-delete queue has lost its last consumer") {
    QueueDefinition definition = transient_queue();
    definition.auto_delete = true;
    QueueBench bench(definition);
    FakeConsumer a, b;
    QueueConsumer& first = bench.consume(a);
    QueueConsumer& second = bench.consume(b);
    bench.publish({"1", "2"});
    CHECK_FALSE(bench.queue.cancel(first));
    CHECK(bench.queue.cancel(second));  // although its delivery is outstanding

    QueueBench kept;
    FakeConsumer c;
    CHECK_FALSE(kept.queue.cancel(kept.consume(c)));
  }
}

TEST_SUITE("Queue: get") {
  TEST_CASE("an empty queue has nothing") {
    QueueBench bench;
    CHECK_FALSE(bench.get(false));
    CHECK_FALSE(bench.get(true));
  }

  TEST_CASE("a get takes the oldest and says how many are left") {
    QueueBench bench;
    bench.publish({"a", "b", "c"});
    const auto got = bench.get(false);
    CHECK(got->delivery.message->body() == "a");
    CHECK(got->ready_left == 2);
    CHECK(bench.queue.unacked_count() == 1);
    const auto taken = bench.get(true);
    CHECK(taken->delivery.message->body() == "b");
    CHECK(taken->ready_left == 1);
    CHECK(bench.queue.unacked_count() == 1);
    bench.settle({1}, Settlement::ack);
    CHECK(bench.queue.unacked_count() == 0);
  }

  TEST_CASE("what a get has taken counts against no consumer") {
    QueueBench bench;
    bench.publish({"a"});
    const auto got = bench.get(false);
    FakeConsumer consumer;
    bench.consume(consumer, with_prefetch(1));
    bench.publish({"b"});
    CHECK(consumer.bodies() == Bodies{"b"});
    bench.settle({got->delivery.seq}, Settlement::ack);
    bench.publish({"c"});
    CHECK(consumer.bodies() == Bodies{"b"});
  }
}

TEST_SUITE("Queue: immediate") {
  TEST_CASE("a message is taken at once only where a consumer gets it now") {
    QueueBench bench;
    CHECK_FALSE(bench.queue.takes_at_once());

    FakeConsumer consumer;
    bench.consume(consumer, with_prefetch(1));
    CHECK(bench.queue.takes_at_once());
    bench.publish({"a"});
    CHECK_FALSE(bench.queue.takes_at_once());  // at its prefetch
    bench.settle({1}, Settlement::ack);
    CHECK(bench.queue.takes_at_once());
    consumer.open = false;
    CHECK_FALSE(bench.queue.takes_at_once());
  }

  TEST_CASE("it would not overtake what is waiting") {
    QueueBench bench;
    FakeConsumer consumer;
    REQUIRE(bench.queue.consume(consumer, {}));
    consumer.open = false;
    bench.publish({"first"});
    consumer.open = true;
    CHECK_FALSE(bench.queue.takes_at_once());
  }
}

TEST_SUITE("Queue: purge and close") {
  TEST_CASE("after the stop of deliveries nobody gets anything, and the marks stay true") {
    QueueBench bench(durable_queue());
    FakeConsumer consumer;
    bench.consume(consumer, with_prefetch(1));
    bench.publish({"a", "b"});
    bench.queue.stop_deliveries();
    bench.settle({1}, Settlement::ack);
    CHECK(consumer.bodies() == Bodies{"a"});
    std::string refusal;
    bench.queue.get(true, [&](const GetResult& got) { refusal = got.error().text; });
    CHECK(refusal == "broker forced connection closure with reason 'shutdown'");
    CHECK(bench.queue.enqueue(persistent("c"), bench.now) == Enqueued::stored);
    CHECK(bench.queue.ready_count() == 2);
  }

  TEST_CASE("purge drops what is ready and leaves what is outstanding") {
    QueueBench bench;
    bench.publish({"a", "b", "c", "d"});
    bench.get(false);
    const auto second = bench.get(false);
    bench.settle({second->delivery.seq}, Settlement::requeue);  // one that came back goes as well
    CHECK(bench.queue.purge() == 3);
    CHECK(bench.queue.ready_count() == 0);
    CHECK(bench.queue.ready_bytes() == 0);
    CHECK(bench.queue.unacked_count() == 1);
    CHECK(bench.queue.purge() == 0);
    bench.settle({1}, Settlement::requeue);
    bench.publish({"e"});
    CHECK(bench.get_all() == Bodies{"a", "e"});
  }

  TEST_CASE("ready octets are those of ready bodies") {
    QueueBench bench;
    bench.publish({"1", "22", "333"});
    CHECK(bench.queue.ready_bytes() == 6);
    const auto got = bench.get(false);
    CHECK(bench.queue.ready_bytes() == 5);
    bench.settle({got->delivery.seq}, Settlement::requeue);
    CHECK(bench.queue.ready_bytes() == 6);
    bench.get(true);
    CHECK(bench.queue.ready_bytes() == 5);
  }

  SCENARIO("a closed queue is as good as gone") {
    GIVEN("a queue with ready messages, a consumer and one cancelled before") {
      QueueBench bench;
      FakeConsumer consumer, left;
      CHECK_FALSE(bench.queue.cancel(bench.consume(left)));
      bench.consume(consumer, with_prefetch(1));
      bench.publish({"a", "b", "c"});
      REQUIRE(bench.queue.unacked_count() == 1);
      WHEN("it closes") {
        CHECK(bench.queue.close() == 2);
        THEN("its consumers hear of it once, those that left do not") {
          CHECK(bench.queue.closed());
          CHECK(consumer.cancels == 1);
          CHECK(left.cancels == 0);
        }
        THEN("it has no consumers and takes no more") {
          CHECK(bench.queue.consumer_count() == 0);
          CHECK_FALSE(bench.queue.has_free_consumer());
          FakeConsumer late;
          const auto refused = bench.queue.consume(late, {});
          REQUIRE_FALSE(refused);
          CHECK(reply_text(refused.error()) == "NOT_FOUND - no queue 'q' in vhost '/'");
        }
        THEN("nothing goes in or out") {
          CHECK(bench.queue.enqueue(persistent("x"), bench.now) == Enqueued::held);
          CHECK_FALSE(bench.queue.takes_at_once());
          CHECK_FALSE(bench.get(false));
          bench.queue.pump();
          CHECK(consumer.bodies() == Bodies{"a"});
        }
        THEN("late settlements do no harm") {
          bench.settle({1}, Settlement::requeue);
          bench.settle({1, 2, 3}, Settlement::ack);
          CHECK(consumer.bodies() == Bodies{"a"});
        }
      }
    }
  }
}
