#include <algorithm>
#include <map>
#include <random>
#include <string>

#include <doctest/doctest.h>

#include "broker/core/message_records.h"
#include "broker/core/queue.h"
#include "protocol/properties.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

using Millis = Milliseconds;

MessageRef with_headers(std::string_view body, bool is_persistent, const FieldTable& headers,
                        std::int64_t ttl_ms = -1) {
  BasicProperties properties;
  properties.headers = headers;
  Buffer octets;
  properties.encode(octets);
  MessageParts parts;
  parts.properties = octets.view();
  parts.persistent = is_persistent;
  parts.ttl_ms = ttl_ms;
  parts.delay_headers = true;
  return Message::create(parts, body);
}

MessageRef delayed(std::string_view body, std::int64_t delay_ms, bool is_persistent = true,
                   std::string_view cancel_key = {}, std::int64_t ttl_ms = -1) {
  FieldTable headers;
  headers.append("x-delay", Value::int64(delay_ms));
  if (!cancel_key.empty()) headers.append("x-cancel-key", Value::long_string(cancel_key));
  return with_headers(body, is_persistent, headers, ttl_ms);
}

MessageRef cancel(std::string_view key) {
  FieldTable headers;
  headers.append("x-cancel", Value::long_string(key));
  return with_headers("", false, headers);
}

QueueDefinition retrying(QueueDefinition made, std::int64_t min, std::int64_t max) {
  made.arguments.set("x-delayed-retry-type", Value::long_string("all"));
  made.arguments.set("x-delayed-retry-min", Value::int64(min));
  made.arguments.set("x-delayed-retry-max", Value::int64(max));
  return made;
}

RecoveredLane delay_lane_of(const FakeHost& host, Sequence next_seq) {
  RecoveredLane lane;
  lane.lane = kDelayLane;
  lane.first_seq = host.delayed.empty() ? next_seq : host.delayed.begin()->first;
  lane.next_seq = next_seq;
  for (const auto& [seq, entry] : host.delayed)
    lane.tally += tally_of(*entry.message);
  return lane;
}

// The bench after a restart: what `before` had committed is there.
void restart(QueueBench& before, QueueBench& after, Sequence next_seq) {
  before.turns();
  after.now = before.now;
  for (const auto& [seq, entry] : before.host.delayed) {
    if (entry.message->persistent()) after.host.delayed[seq] = entry;
  }
  after.host.records = before.host.records;
  for (const auto& [key, value] : after.host.records) {
    if (const auto record = decode_delay_record(key, value)) after.queue.recover_delayed(*record);
  }
  after.queue.recover(delay_lane_of(after.host, next_seq));
}

}  // namespace

TEST_SUITE("Queue: delay") {
  TEST_CASE("a delayed message is in the store at once, not in memory, and comes when it is due") {
    for (const bool is_persistent : {true, false}) {
      CAPTURE(is_persistent);
      QueueBench bench(durable_queue());
      const Enqueued enqueued = bench.queue.enqueue(delayed("a", 100, is_persistent), bench.now);
      CHECK(enqueued == (is_persistent ? Enqueued::stored : Enqueued::paged));
      CHECK(bench.queue.delayed_count() == 1);
      CHECK(bench.queue.ready_count() == 0);
      CHECK(bench.queue.held_bytes() == 0);
      bench.turns();
      CHECK(bench.host.delayed.size() == 1);
      CHECK(bench.host.records.size() == (is_persistent ? 1 : 0));
      bench.pass(Millis(99));
      CHECK(bench.queue.ready_count() == 0);
      bench.pass(Millis(1));
      bench.turns();
      CHECK(bench.queue.delayed_count() == 0);
      CHECK(bench.host.delayed.empty());
      CHECK(bench.host.records.empty());
      CHECK(bench.host.stored.size() == (is_persistent ? 1 : 0));
      CHECK(bench.get_all() == Bodies{"a"});
    }
  }

  TEST_CASE("a message that was never delayed makes nothing") {
    QueueBench bench(durable_queue());
    CHECK(bench.queue.enqueue(delayed("a", 0), bench.now) == Enqueued::stored);
    CHECK(bench.queue.enqueue(cancel("a"), bench.now) == Enqueued::held);
    bench.turns();
    CHECK(bench.host.delayed.empty());
    CHECK(bench.host.wake_ups.empty());
    CHECK(bench.get_all() == Bodies{"a"});
  }

  TEST_CASE("a late tick releases in the order of due times, however many there are") {
    QueueBench bench(durable_queue());
    Bodies expected;
    for (int i = 0; i < 1000; ++i)
      expected.push_back(std::to_string(i));
    for (int i = 999; i >= 0; --i)
      bench.queue.enqueue(delayed(std::to_string(i), 100 + i, i % 3 != 0), bench.now);
    bench.turns();
    bench.now += Millis(5000);
    bench.queue.tick(bench.now);
    bench.turns();
    CHECK(bench.get_all() == expected);
    bench.turns();
    CHECK(bench.host.delayed.empty());
  }

  TEST_CASE("neighbours are read in one page") {
    QueueBench bench(durable_queue());
    for (int i = 0; i < 100; ++i)
      bench.queue.enqueue(delayed("a", 100), bench.now);
    bench.host.commit();
    bench.now += Millis(100);
    bench.queue.tick(bench.now);
    CHECK(bench.host.reads.size() == 1);
    bench.turns();
    CHECK(bench.queue.ready_count() == 100);
  }

  TEST_CASE("large ones that are due together are read a few at a time, however small the others") {
    QueueBench bench(durable_queue());
    FakeConsumer consumer;
    bench.consume(consumer);
    const std::string large(std::size_t{1} << 20, 'x');
    for (int i = 0; i < 40; ++i) {
      bench.queue.enqueue(delayed(large, 1000), bench.now);
      for (int far = 0; i < 20 && far < 12; ++far)  // some are neighbours, others are not
        bench.queue.enqueue(delayed("far", 3'600'000), bench.now);
    }
    bench.turns();
    bench.now += Millis(1000);
    bench.queue.tick(bench.now);
    std::size_t most = 0;
    std::size_t before = 0;
    for (int round = 0; round < 1000 && consumer.deliveries.size() < 40; ++round) {
      CHECK(bench.host.reads.size() <= 8);
      bench.turn();
      most = std::max(most, consumer.deliveries.size() - before);
      before = consumer.deliveries.size();
    }
    CHECK(consumer.deliveries.size() == 40);
    CHECK(most <= 16);
    CHECK(bench.queue.delayed_count() == 240);
  }

  TEST_CASE("very many with the same cancel key come as quickly as others") {
    QueueBench bench(durable_queue());
    FakeConsumer consumer;
    bench.consume(consumer);
    for (int i = 0; i < 50'000; ++i)
      bench.queue.enqueue(delayed("x", 1000, true, "campaign"), bench.now);
    bench.pass(Millis(2000));
    CHECK(consumer.deliveries.size() == 50'000);
    CHECK(bench.queue.cancel_delayed("campaign") == 0);
  }

  TEST_CASE("far away due times ask for a wake-up a day ahead, and again") {
    QueueBench bench(durable_queue());
    bench.queue.enqueue(delayed("a", std::int64_t{3} * 86'400'000), bench.now);
    REQUIRE(bench.host.wake_ups.size() == 1);
    CHECK(bench.host.wake_ups[0] == bench.now + std::chrono::hours(24));
    bench.pass(std::chrono::hours(71));
    CHECK(bench.queue.delayed_count() == 1);
    bench.pass(std::chrono::hours(1));
    CHECK(bench.get_all() == Bodies{"a"});
  }

  TEST_CASE("a queue without a lane keeps delayed messages in memory until it gets one") {
    QueueBench bench;
    CHECK(bench.queue.enqueue(delayed("a", 200), bench.now) == Enqueued::held);
    CHECK(bench.queue.enqueue(delayed("b", 100, false), bench.now) == Enqueued::held);
    bench.pass(Millis(100));
    CHECK(bench.get_all() == Bodies{"b"});
    bench.host.spare_lane = kDelayLane;
    CHECK(bench.queue.enqueue(delayed("c", 50), bench.now) == Enqueued::paged);
    bench.host.spare_lane.reset();
    bench.turns();
    CHECK(bench.host.delayed.size() == 2);
    bench.pass(Millis(100));
    CHECK(bench.get_all() == Bodies{"c", "a"});
    bench.turns();
    CHECK(bench.host.delayed.empty());
    CHECK(bench.host.records.empty());
  }

  TEST_CASE("after a restart persistent messages come when they are due") {
    QueueBench before(durable_queue());
    for (int i = 0; i < 10; ++i)
      before.queue.enqueue(delayed(std::to_string(i), 1000 - 100 * i, i % 2 == 0, "key"),
                           before.now);
    QueueBench after(durable_queue());
    restart(before, after, 11);
    CHECK(after.queue.delayed_count() == 5);
    after.pass(Millis(600));
    CHECK(after.get_all() == Bodies{"8", "6", "4"});
    CHECK(after.queue.cancel_delayed("key") == 2);
    after.turns();
    CHECK(after.host.delayed.empty());
    CHECK(after.host.records.empty());
  }

  TEST_CASE("records of what a crash left out of the lane go") {
    QueueBench before(durable_queue());
    before.queue.enqueue(delayed("a", 100, true, "key"), before.now);
    before.turns();
    before.host.delayed.clear();
    QueueBench after(durable_queue());
    restart(before, after, 2);
    CHECK(after.queue.delayed_count() == 0);
    CHECK(after.queue.cancel_delayed("key") == 0);
    after.turns();
    CHECK(after.host.records.empty());
  }

  TEST_CASE("a message that expired meanwhile dies when it is due, also where a consumer waits") {
    QueueBench bench(durable_queue());
    FakeConsumer consumer;
    bench.consume(consumer);
    bench.queue.enqueue(delayed("a", 100, true, {}, 50), bench.now);
    bench.pass(Millis(99));
    CHECK(bench.queue.delayed_count() == 1);
    bench.pass(Millis(1));
    CHECK(consumer.bodies().empty());
    CHECK(bench.queue.delayed_count() == 0);
    CHECK(bench.queue.ready_count() == 0);
    bench.turns();
    CHECK(bench.host.stored.empty());
  }

  TEST_CASE("what is cancelled or purged while it is being read does not come") {
    for (const bool is_purge : {true, false}) {
      CAPTURE(is_purge);
      QueueBench bench(durable_queue());
      bench.queue.enqueue(delayed("a", 100, true, "key"), bench.now);
      bench.queue.enqueue(delayed("b", 100, false, "key"), bench.now);
      bench.queue.enqueue(delayed("c", 300, true, "key"), bench.now);
      bench.turns();
      bench.now += Millis(100);
      bench.queue.tick(bench.now);
      REQUIRE(bench.host.reads.size() == 1);
      if (is_purge) {
        CHECK(bench.queue.purge() == 3);
      } else {
        CHECK(bench.queue.enqueue(cancel("key"), bench.now) == Enqueued::stored);
      }
      CHECK(bench.queue.delayed_count() == 0);
      bench.queue.enqueue(delayed("d", 100), bench.now);
      bench.turns();
      CHECK(bench.host.delayed.size() == 1);
      CHECK(bench.host.records.size() == 1);
      bench.pass(Millis(500));
      CHECK(bench.get_all() == Bodies{"d"});
    }
  }

  TEST_CASE("many cancelled messages leave nothing behind") {
    QueueBench bench(durable_queue());
    for (int i = 0; i < 1000; ++i)
      bench.queue.enqueue(delayed("x", 1000 + i, i % 2 == 0, std::to_string(i)), bench.now);
    for (int i = 0; i < 999; ++i)
      CHECK(bench.queue.cancel_delayed(std::to_string(i)) == 1);
    CHECK(bench.queue.cancel_delayed("1") == 0);
    CHECK(bench.queue.delayed_count() == 1);
    bench.pass(Millis(3000));
    CHECK(bench.get_all() == Bodies{"x"});
    bench.turns();
    CHECK(bench.host.delayed.empty());
    CHECK(bench.host.records.empty());
  }

  TEST_CASE("what the store lost is not waited for") {
    QueueBench bench(durable_queue());
    for (const char* body : {"a", "b", "c"})
      bench.queue.enqueue(delayed(body, 100), bench.now);
    bench.turns();
    bench.host.delayed.erase(2);
    bench.now += Millis(100);
    bench.queue.tick(bench.now);
    for (const PageRequest& request : std::exchange(bench.host.reads, {}))
      bench.queue.paged_in(request.lane, bench.host.page(request));
    CHECK(bench.queue.delayed_count() == 0);
    CHECK(bench.get_all() == Bodies{"a", "c"});
  }

  TEST_CASE("what cannot be read stays in the store, and nobody behind it waits") {
    QueueBench bench(durable_queue());
    for (const char* body : {"a", "b"})
      bench.queue.enqueue(delayed(body, 100), bench.now);
    bench.queue.enqueue(delayed("c", 200), bench.now);
    bench.turns();
    bench.now += Millis(100);
    bench.queue.tick(bench.now);
    REQUIRE(bench.host.reads.size() == 1);
    LanePage page = bench.host.page(bench.host.reads[0]);
    page.entries.pop_back();
    page.next = 2;
    page.damage = StoreError{StoreError::Kind::corruption, "block"};
    bench.host.reads.clear();
    bench.queue.paged_in(kDelayLane, std::move(page));
    bench.pass(Millis(100));
    CHECK(bench.get_all() == Bodies{"a", "c"});
    bench.turns();
    CHECK(bench.host.delayed.size() == 1);
    CHECK(bench.host.records.size() == 1);
  }

  TEST_CASE("all can be released at once, in the order in which they are due") {
    QueueBench bench(durable_queue());
    for (const int delay : {300, 100, 200})
      bench.queue.enqueue(delayed(std::to_string(delay), delay), bench.now);
    CHECK(bench.queue.release_delayed() == 3);
    bench.turns();
    CHECK(bench.get_all() == Bodies{"100", "200", "300"});
    CHECK(bench.queue.release_delayed() == 0);
  }

  TEST_CASE("a deleted queue takes lane and records with it") {
    QueueBench bench(durable_queue());
    bench.queue.enqueue(delayed("a", 100), bench.now);
    bench.turns();
    bench.queue.close();
    bench.queue.drop_lanes();
    bench.host.commit();
    CHECK(bench.host.records.empty());
    bench.pass(Millis(200));
    CHECK(bench.queue.ready_count() == 0);
  }

  TEST_CASE("random delays, cancels and restarts lose and repeat nothing") {
    std::mt19937 random(random_seed());
    const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
    std::map<std::string, Timestamp> expected;  // by body
    auto bench = std::make_unique<QueueBench>(durable_queue());
    Sequence next_seq = 1;
    for (int step = 0; step < 3000; ++step) {
      const std::string body = std::to_string(step);
      switch (below(8)) {
        case 0:
          bench->pass(Millis(below(100)));
          break;
        case 1: {
          const std::string key = std::to_string(below(static_cast<unsigned>(step + 1)));
          const bool is_waiting = expected.contains(key) && expected[key] > bench->now;
          CHECK(bench->queue.cancel_delayed(key) == (is_waiting ? 1 : 0));
          if (is_waiting) expected.erase(key);
          break;
        }
        case 2:
          if (below(30) == 0) {
            for (const std::string& got : bench->get_all())
              REQUIRE(expected.erase(got) == 1);
            auto after = std::make_unique<QueueBench>(durable_queue());
            restart(*bench, *after, next_seq);
            bench = std::move(after);
          }
          break;
        default: {
          const int delay = 1 + below(200);
          bench->queue.enqueue(delayed(body, delay, true, body), bench->now);
          expected[body] = bench->now + Millis(delay);
          ++next_seq;
        }
      }
      bench->turns();
      std::size_t waiting = 0;
      for (const auto& [key, due] : expected)
        waiting += due > bench->now ? 1U : 0U;
      REQUIRE(bench->queue.delayed_count() == waiting);
    }
    bench->pass(Millis(500));
    for (const std::string& got : bench->get_all())
      CHECK(expected.erase(got) == 1);
    CHECK(expected.empty());
    bench->turns();
    CHECK(bench->host.delayed.empty());
  }
}

TEST_SUITE("Queue: retry") {
  TEST_CASE("a returned message waits, and keeps its count") {
    QueueBench bench(retrying(durable_queue(), 100, 1000));
    bench.queue.enqueue(persistent("a"), bench.now);
    for (std::uint32_t count = 0; count < 3; ++count) {
      const auto got = bench.get(false);
      REQUIRE(got);
      CHECK(got->delivery.delivery_count == count);
      CHECK(got->delivery.redelivered == (count > 0));
      bench.settle({got->delivery.seq}, Settlement::requeue);
      CHECK(bench.queue.delayed_count() == 1);
      CHECK(bench.queue.held_bytes() == 0);
      bench.pass(Millis(100) * static_cast<int>(count + 1) - Millis(1));
      CHECK_FALSE(bench.get(false));
      bench.pass(Millis(1));
    }
    const auto last = bench.get(false);
    REQUIRE(last);
    bench.settle({last->delivery.seq}, Settlement::ack);
    bench.turns();
    CHECK(bench.host.stored.empty());
    CHECK(bench.host.delayed.empty());
    CHECK(bench.host.records.empty());
  }

  TEST_CASE("a retry that is due goes before all that was not tried yet") {
    for (const std::uint64_t budget : {QueueBench::kPlenty, std::uint64_t{0}}) {
      CAPTURE(budget);
      QueueBench bench(retrying(durable_queue(), 100, 1000), budget);
      const std::string filling(5000, 'x');
      for (int i = 0; i < 30; ++i)
        bench.queue.enqueue(persistent(std::to_string(i) + filling), bench.now);
      const auto first = bench.get(false);
      const auto second = bench.get(false);
      REQUIRE(second);
      bench.settle({second->delivery.seq, first->delivery.seq}, Settlement::requeue);
      bench.turns();
      bench.pass(Millis(100));
      const auto got = bench.get(false);
      REQUIRE(got);
      CHECK(got->delivery.redelivered);
      CHECK(got->delivery.delivery_count == 1);
      CHECK(bench.get(false)->delivery.delivery_count == 1);
      CHECK(bench.get(false)->delivery.message->body().starts_with("2"));
      bench.settle({got->delivery.seq}, Settlement::ack);
      bench.turns();
      CHECK(bench.host.retried.size() == 1);
    }
  }

  TEST_CASE("what no client has seen does not wait") {
    QueueBench bench(retrying(durable_queue(), 100, 1000));
    bench.queue.enqueue(persistent("a"), bench.now);
    bench.settle({bench.get(false)->delivery.seq}, Settlement::unseen);
    CHECK(bench.queue.ready_count() == 1);
  }

  TEST_CASE("a message that was paged out is read before it waits") {
    for (const bool is_persistent : {true, false}) {
      CAPTURE(is_persistent);
      QueueBench bench(retrying(durable_queue(), 100, 1000), 0);
      const std::string body(10'000, 'x');
      for (int i = 0; i < 3; ++i)
        bench.queue.enqueue(is_persistent ? persistent(body) : transient(body), bench.now);
      const auto got = bench.get(false);
      REQUIRE(got);
      const Sequence seq = got->delivery.seq;
      bench.settle({seq}, Settlement::requeue);
      CHECK(bench.queue.delayed_count() == 1);
      CHECK(bench.queue.unacked_count() == 0);
      bench.turns();
      bench.host.commit();
      CHECK(bench.queue.delayed_count() == 1);
      CHECK(bench.host.delayed.size() == 1);
      bench.pass(Millis(100));
      CHECK(bench.queue.ready_count() == 3);
      std::uint32_t counted = 0;
      while (const auto next = bench.get(true)) {
        counted += next->delivery.delivery_count;
        CHECK(next->delivery.redelivered == (next->delivery.delivery_count > 0));
      }
      CHECK(counted == 1);
      bench.turns();
      CHECK(bench.host.stored.empty());
      CHECK(bench.host.records.empty());
      CHECK(bench.host.memory().used() == 0);
    }
  }

  TEST_CASE("counts beyond an octet survive the wait and a restart") {
    QueueBench before(retrying(durable_queue(), 1, 1));
    before.queue.enqueue(persistent("a"), before.now);
    for (std::uint32_t count = 0; count < 300; ++count) {
      const auto got = before.get(false);
      REQUIRE(got);
      REQUIRE(got->delivery.delivery_count == count);
      before.settle({got->delivery.seq}, Settlement::failed);
      if (count < 299) before.pass(Millis(1));
    }
    QueueBench after(retrying(durable_queue(), 1, 1));
    restart(before, after, 301);
    after.pass(Millis(1));
    const auto got = after.get(false);
    REQUIRE(got);
    CHECK(got->delivery.delivery_count == 300);
  }

  TEST_CASE("jitter keeps within its bounds and spreads") {
    QueueDefinition definition = retrying(durable_queue(), 1000, 1000);
    definition.arguments.set("x-delayed-retry-jitter", Value::int64(50));
    QueueBench bench(definition);
    for (int i = 0; i < 200; ++i)
      bench.queue.enqueue(persistent("a"), bench.now);
    while (const auto got = bench.get(false))
      bench.queue.settle(got->delivery.seq, Settlement::requeue);
    bench.pass(Millis(499));
    CHECK(bench.queue.ready_count() == 0);
    bench.pass(Millis(251));
    CHECK(bench.queue.ready_count() > 50);
    CHECK(bench.queue.ready_count() < 150);
    bench.pass(Millis(250));
    CHECK(bench.queue.ready_count() == 200);
  }

  TEST_CASE("beyond the limit a message dies without waiting") {
    QueueDefinition definition = retrying(durable_queue(), 100, 100);
    definition.arguments.set("x-delivery-limit", Value::int64(1));
    definition.arguments.set("x-dead-letter-exchange", Value::long_string("dead"));
    QueueBench bench(definition);
    bench.queue.enqueue(persistent("a"), bench.now);
    bench.settle({bench.get(false)->delivery.seq}, Settlement::requeue);
    bench.pass(Millis(100));
    bench.settle({bench.get(false)->delivery.seq}, Settlement::requeue);
    CHECK(bench.bury() == Bodies{"a delivery_limit"});
  }
}
