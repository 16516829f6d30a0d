#include <string>

#include <doctest/doctest.h>

#include "broker/core/queue.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

QueueDefinition limited(QueueDefinition made, std::string_view key, std::int64_t value,
                        std::string_view overflow = "drop-head") {
  made.arguments.set(key, Value::int64(value));
  made.arguments.set("x-overflow", Value::long_string(overflow));
  return made;
}

std::string large(int number) {
  return std::to_string(number) + std::string(1000, '.');
}

}  // namespace

TEST_SUITE("Queue: limits") {
  TEST_CASE("heads that are only on disk count as gone at once and are dead-lettered when read") {
    QueueDefinition definition = limited(durable_queue(), "x-max-length", 50);
    definition.arguments.set("x-dead-letter-exchange", Value::long_string("dlx"));
    QueueBench bench(definition, 0);
    Bodies buried;
    for (int i = 1; i <= 200; ++i) {
      bench.queue.enqueue(persistent(large(i)), bench.now);
      REQUIRE(bench.queue.ready_count() <= 50);
    }
    while (true) {
      bench.turns();
      const Bodies more = bench.bury();
      if (more.empty()) break;
      buried.insert(buried.end(), more.begin(), more.end());
    }
    REQUIRE(buried.size() == 150);
    for (int i = 1; i <= 150; ++i)
      REQUIRE(buried[static_cast<std::size_t>(i - 1)] == large(i) + " maxlen");
    CHECK(bench.queue.ready_count() == 50);
    bench.queue.check_invariants();
    CHECK(bench.get_all().front() == large(151));
  }

  TEST_CASE("a recovered queue above its limit is cut") {
    QueueBench bench(limited(durable_queue(), "x-max-length", 2));
    std::vector<StoredEntry> entries;
    for (Sequence seq = 1; seq <= 5; ++seq) {
      StoredEntry& entry = entries.emplace_back();
      entry.seq = seq;
      entry.message = persistent(std::to_string(seq));
    }
    bench.recover(entries, 6);
    CHECK(bench.queue.ready_count() == 2);
    bench.turns();
    CHECK(bench.get_all() == Bodies{"4", "5"});
    bench.host.commit();
    CHECK(bench.host.stored.size() == 2);
  }

  TEST_CASE("octets of heads on disk are dropped as they are read") {
    QueueBench bench(limited(durable_queue(), "x-max-length-bytes", 20'000), 0);
    for (int i = 1; i <= 100; ++i) {
      bench.queue.enqueue(persistent(large(i)), bench.now);
      bench.turns();
      REQUIRE(bench.queue.ready_bytes() <= 20'000);
      bench.queue.check_invariants();
    }
    CHECK(bench.get_all().back() == large(100));
  }

  TEST_CASE("room that is reserved is refused to others and good for whom it was reserved") {
    QueueBench bench(limited(transient_queue(), "x-max-length", 2, "reject-publish"));
    CHECK(bench.queue.reserve(2, 2));
    CHECK_FALSE(bench.queue.reserve(1, 1));
    CHECK(bench.queue.enqueue(transient("x"), bench.now) == Enqueued::refused);
    CHECK(bench.queue.enqueue(transient("a"), bench.now, Admission::reserved) == Enqueued::held);
    bench.queue.release(1, 1);
    CHECK(bench.queue.enqueue(transient("b"), bench.now) == Enqueued::held);
    CHECK(bench.queue.enqueue(transient("x"), bench.now) == Enqueued::refused);
    CHECK(bench.get_all() == Bodies{"a", "b"});
  }

  TEST_CASE("a lower limit cuts at once what is ready") {
    QueueBench bench;
    bench.publish({"a", "b", "c"});
    QueueSettings settings;
    settings.max_length = 1;
    bench.queue.apply(settings, bench.now);
    CHECK(bench.get_all() == Bodies{"c"});
  }

  TEST_CASE("a lower limit on very many is kept in several turns") {
    QueueBench bench;
    bench.publish(Bodies(10'000, "x"));
    QueueSettings settings;
    settings.max_length = 1;
    bench.queue.apply(settings, bench.now);
    CHECK(bench.queue.ready_count() > 1);
    CHECK(bench.queue.ready_count() < 10'000);
    bench.pass(Milliseconds(10));
    CHECK(bench.queue.ready_count() == 1);
  }
}
