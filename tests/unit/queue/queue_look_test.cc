#include <string>

#include <doctest/doctest.h>

#include "broker/core/queue.h"
#include "broker/core/queue_parts/withdrawn.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

std::string large(int number) {
  return std::to_string(number) + std::string(1000, '.');
}

}  // namespace

TEST_SUITE("Queue: looking") {
  TEST_CASE("what left memory is read only up to what is still there") {
    QueueBench bench(durable_queue(), 0);
    FakeConsumer consumer;
    bench.consume(consumer);
    for (int i = 1; i <= 40; ++i) {
      const std::string body = large(i);
      bench.queue.enqueue(i % 10 == 0 ? transient(body) : persistent(body), bench.now);
    }
    bench.turns();
    REQUIRE(consumer.deliveries.size() == 40);
    consumer.open = false;
    for (Sequence seq = 1; seq <= 40; ++seq)
      bench.queue.settle(seq, Settlement::requeue);
    const auto [begin, end] = bench.queue.ranges().front();
    Sequence at = begin;
    Sequences found;
    int reads = 0;
    while (at < end) {
      const LevelLook look = bench.queue.look(at, end, 7);
      REQUIRE(look.seen.size() <= 7);
      for (const LevelLook::Seen& seen : look.seen)
        found.push_back(seen.seq);
      REQUIRE(look.next > at - (look.seen.empty() ? 1 : 0));
      at = look.next;
      if (!look.seen.empty() || !look.on_disk) continue;
      ++reads;
      for (const auto& [seq, entry] : bench.host.stored) {
        if (seq >= at && seq < look.disk_end) found.push_back(seq);
      }
      at = look.disk_end;
    }
    Sequences all;
    for (Sequence seq = 1; seq <= 40; ++seq)
      all.push_back(seq);
    CHECK(found == all);
    CHECK(reads > 0);
  }

  TEST_CASE("a message that is unacknowledged is neither seen nor withdrawn") {
    QueueBench bench;
    bench.publish({"a", "b"});
    const auto got = bench.get(false);
    const auto [begin, end] = bench.queue.ranges().front();
    CHECK(bench.queue.look(begin, end, 10).seen.size() == 1);
    CHECK_FALSE(bench.queue.withdraw(got->delivery.seq, *got->delivery.message));
    CHECK(bench.queue.withdraw(2, *transient("b")));
    CHECK(bench.queue.ready_count() == 0);
    bench.settle({1}, Settlement::requeue);
    CHECK(bench.get_all() == Bodies{"a"});
  }

  TEST_CASE("withdrawn sequences that touch are one stretch") {
    Withdrawn withdrawn;
    for (const Sequence seq : Sequences{5, 3, 4, 9, 8, 7})
      withdrawn.add(seq);
    for (const Sequence seq : Sequences{3, 4, 5, 7, 8, 9})
      CHECK(withdrawn.contains(seq));
    for (const Sequence seq : Sequences{2, 6, 10})
      CHECK_FALSE(withdrawn.contains(seq));
    CHECK(withdrawn.end_from(3) == 6);
    CHECK(withdrawn.end_from(6) == 6);
    withdrawn.drop_below(6);
    CHECK_FALSE(withdrawn.contains(5));
    CHECK(withdrawn.contains(7));
    withdrawn.drop_below(10);
    CHECK(withdrawn.empty());
  }
}
