#include <string>

#include <doctest/doctest.h>

#include "broker/core/queue.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

constexpr std::uint64_t kNoBudget = 0;  // a queue may hold MessageMemory::kQueueMin all the same

std::string large(int number) {
  return std::to_string(number) + std::string(1000, '.');
}

int number_of(const Delivery& delivery) {
  return std::stoi(std::string(delivery.message->body()));
}

void publish(QueueBench& bench, int first, int last, bool is_persistent = true) {
  for (int i = first; i <= last; ++i)
    bench.queue.enqueue(is_persistent ? persistent(large(i)) : transient(large(i)), bench.now);
}

}  // namespace

TEST_SUITE("Queue: paging") {
  TEST_CASE("memory stays within the budget whatever is published") {
    for (const std::uint64_t budget : {kNoBudget, std::uint64_t{100'000}}) {
      CAPTURE(budget);
      QueueBench bench(durable_queue(), budget);
      publish(bench, 1, 1000);
      CHECK(bench.queue.ready_count() == 1000);
      CHECK(bench.queue.ready_bytes() > 1'000'000);
      // A lone queue gets half of the budget: as much as it leaves free.
      CHECK(bench.queue.held_bytes() >= budget * 2 / 5);
      CHECK(bench.queue.held_bytes() <= budget / 2 + 2 * MessageMemory::kQueueMin);
      CHECK(bench.host.memory().used() == bench.queue.held_bytes());
    }
  }

  TEST_CASE("what was paged out is delivered in order, each message once") {
    QueueBench bench(durable_queue(), kNoBudget);
    publish(bench, 1, 500);
    FakeConsumer consumer;
    bench.consume(consumer, no_ack());
    bench.turns();
    REQUIRE(consumer.deliveries.size() == 500);
    for (int i = 0; i < 500; ++i)
      REQUIRE(number_of(consumer.deliveries[static_cast<std::size_t>(i)]) == i + 1);
    bench.host.commit();
    CHECK(bench.host.stored.empty());
    CHECK(bench.host.memory().used() == 0);
  }

  TEST_CASE("nothing is read back that nobody wants") {
    QueueBench bench(durable_queue(), kNoBudget);
    publish(bench, 1, 100);
    CHECK(bench.host.reads.empty());
    FakeConsumer consumer;
    consumer.open = false;
    QueueConsumer& added = bench.consume(consumer);
    CHECK(bench.host.reads.empty());  // no memory for a page ahead
    consumer.open = true;
    bench.queue.resume(added);
    CHECK(bench.host.reads.size() == 1);
    consumer.open = false;
    bench.turns();
    CHECK(bench.queue.held_bytes() > 10'000);
    CHECK(bench.queue.held_bytes() < 30'000);
    CHECK_FALSE(bench.queue.cancel(added));
    bench.queue.pump();
    CHECK(bench.host.reads.empty());
  }

  TEST_CASE("with memory to spare a page is read ahead, for when a consumer can take more") {
    QueueBench bench(durable_queue(), kNoBudget);
    publish(bench, 1, 100);
    bench.host.memory().set_budget(std::uint64_t{1} << 20);
    FakeConsumer consumer;
    consumer.open = false;
    bench.consume(consumer);
    CHECK(bench.host.reads.size() == 1);
  }

  TEST_CASE("a message larger than what is free is not held, however empty its queue is") {
    constexpr std::uint64_t kBudget = 64 << 10;
    QueueBench bench(durable_queue(), kBudget);
    CHECK(bench.queue.enqueue(persistent(std::string(2 * kBudget, 'x')), bench.now) ==
          Enqueued::stored);
    CHECK(bench.queue.held_bytes() == 0);
    bench.host.commit();
    CHECK(bench.get(true)->delivery.message->body().size() == 2 * kBudget);
  }

  TEST_CASE("over budget an unacknowledged transient message leaves memory too") {
    for (const bool durable : {false, true}) {
      CAPTURE(durable);
      QueueBench bench(durable ? durable_queue() : transient_queue(), kNoBudget);
      bench.host.spare_lane = LaneId{9};
      FakeConsumer consumer;
      bench.consume(consumer);
      publish(bench, 1, 100, false);
      CHECK(consumer.deliveries.size() == 100);
      CHECK(bench.queue.held_bytes() < 10'000);
      bench.host.commit();
      bench.settle({3}, Settlement::requeue);
      bench.turns();
      CHECK(number_of(consumer.deliveries.back()) == 3);
      CHECK(consumer.deliveries.back().redelivered);
    }
  }

  TEST_CASE("a recovered backlog is read before anything of it is given up") {
    QueueBench bench(durable_queue(), kNoBudget);
    publish(bench, 1, 5);
    bench.host.commit();
    RecoveredLane lane;
    lane.lane = LaneId{9};
    lane.first_seq = 1;
    lane.next_seq = 6;
    lane.tally = {};  // wrong
    QueueHandle handle(durable_queue());
    Queue again(handle, bench.host);
    again.recover(lane);
    CHECK(bench.batch.empty());
  }

  TEST_CASE("a message that is handed straight to a consumer is not paged out") {
    QueueBench bench(durable_queue(), kNoBudget);
    FakeConsumer consumer;
    bench.consume(consumer, no_ack());
    publish(bench, 1, 100);
    CHECK(consumer.deliveries.size() == 100);
    CHECK(bench.host.reads.empty());
  }

  TEST_CASE("a transient queue pages out once it has a lane") {
    QueueBench bench(transient_queue(), kNoBudget);
    publish(bench, 1, 50, false);
    CHECK(bench.queue.held_bytes() > 50'000);  // no lane to be had yet
    CHECK(bench.batch.empty());
    CHECK_FALSE(bench.queue.lane());
    bench.host.spare_lane = LaneId{77};
    publish(bench, 51, 100, false);
    CHECK(bench.queue.lane() == LaneId{77});
    CHECK(bench.queue.held_bytes() < 60'000);
    bench.host.commit();
    CHECK(bench.host.stored.size() == 50);
    CHECK(bench.get_all().size() == 100);
  }

  TEST_CASE("the confirm of a paged message means what it says") {
    for (const bool durable : {false, true}) {
      for (const bool is_persistent : {false, true}) {
        QueueBench bench(durable ? durable_queue() : transient_queue(), kNoBudget);
        bench.host.spare_lane = LaneId{9};
        publish(bench, 1, 50);
        const Enqueued result =
            bench.queue.enqueue(is_persistent ? persistent("m") : transient("m"), bench.now);
        CHECK(result == (durable && is_persistent ? Enqueued::stored : Enqueued::paged));
      }
    }
  }

  TEST_CASE("over budget an unacknowledged message leaves memory and comes back when requeued") {
    QueueBench bench(durable_queue(), kNoBudget);
    publish(bench, 1, 20);
    FakeConsumer consumer;
    bench.consume(consumer);
    bench.turns();
    REQUIRE(consumer.deliveries.size() == 20);
    consumer.deliveries.clear();  // written to the socket
    CHECK(bench.queue.held_bytes() < 10'000);
    consumer.open = false;
    bench.settle({5, 6, 20}, Settlement::requeue);
    CHECK(bench.queue.ready_count() == 3);
    const auto got = bench.get(true);
    CHECK(number_of(got->delivery) == 5);
    CHECK(got->delivery.redelivered);
    CHECK(got->ready_left == 2);
    CHECK(number_of(bench.get(true)->delivery) == 6);
    CHECK(number_of(bench.get(true)->delivery) == 20);
    CHECK_FALSE(bench.get(true));
  }

  TEST_CASE("purge drops the backlog too, also while a page of it is being read") {
    QueueBench bench(durable_queue(), kNoBudget);
    publish(bench, 1, 200);
    FakeConsumer consumer;
    consumer.open = false;
    bench.consume(consumer);
    std::optional<Got> got;
    const std::size_t ready = bench.queue.ready_count();
    while (bench.queue.held_bytes() > 0)
      bench.queue.get(true, [&](GetResult result) { got = std::move(*result); });
    bench.queue.get(true, [&](GetResult result) { got = std::move(*result); });
    REQUIRE(bench.host.reads.size() == 1);
    CHECK(bench.queue.purge() < ready);
    CHECK(bench.queue.ready_count() == 0);
    consumer.open = true;
    bench.turns();
    CHECK(consumer.deliveries.empty());
    bench.queue.resume(bench.consume(consumer));
    publish(bench, 201, 201);
    CHECK(number_of(consumer.deliveries.at(0)) == 201);
    bench.turns();
    CHECK(bench.host.stored.size() == 1);
  }

  TEST_CASE("those who wait for a page are answered when the queue is purged or goes") {
    for (const bool purged : {true, false}) {
      QueueBench bench(durable_queue(), kNoBudget);
      bench.recover({}, 1);
      publish(bench, 1, 20);
      int answers = 0;
      bool found = false;
      const auto wait = [&](GetResult result) {
        ++answers;
        found |= result.has_value() && result->has_value();
      };
      while (bench.queue.held_bytes() > 0)
        bench.queue.get(true, [](const GetResult&) {});
      bench.queue.get(true, wait);
      bench.queue.get(true, wait);
      CHECK(answers == 0);
      if (purged) {
        bench.queue.purge();
      } else {
        bench.queue.close();
      }
      bench.turns();
      CHECK(answers == 2);
      CHECK_FALSE(found);
    }
  }

  TEST_CASE("where the store is damaged the queue stops, says so, and goes on after a purge") {
    QueueBench bench(durable_queue(), kNoBudget);
    publish(bench, 1, 50);
    bench.host.commit();
    while (bench.queue.held_bytes() > 0)
      bench.queue.get(true, [](const GetResult&) {});
    std::string answer;
    bench.queue.get(true, [&](GetResult result) { answer = result.error().text; });
    REQUIRE(bench.host.reads.size() == 1);
    LanePage page;
    page.next = bench.host.reads.at(0).from;
    page.damage = StoreError{StoreError::Kind::corruption, "block 7 is damaged"};
    const std::size_t ready = bench.queue.ready_count();
    bench.queue.paged_in(LaneId{9}, std::move(page));
    bench.host.reads.clear();
    bench.turns();
    CHECK(answer == "the head of queue 'q' in vhost '/' is damaged in the store, see the log");
    CHECK(bench.queue.ready_count() == ready);
    CHECK(bench.queue.purge() == ready);
    publish(bench, 51, 51);
    CHECK(number_of(bench.get(true)->delivery) == 51);
  }

  TEST_CASE("counters that were wrong are put right when the end of the backlog is reached") {
    QueueBench bench(durable_queue());
    RecoveredLane lane;
    lane.lane = LaneId{9};
    lane.first_seq = 4;
    lane.next_seq = 10;
    lane.tally = {3, 30};
    bench.queue.recover(lane);
    CHECK(bench.queue.ready_count() == 3);
    CHECK_FALSE(bench.get(true));  // the store has none of them
    CHECK(bench.queue.ready_count() == 0);
    publish(bench, 1, 1);
    CHECK(bench.get(true)->delivery.seq == 10);
  }
}
