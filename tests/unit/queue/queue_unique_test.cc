#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "broker/core/message_records.h"
#include "broker/core/queue.h"
#include "broker/core/queue_parts/deduplication.h"
#include "protocol/properties.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

QueueDefinition unique(QueueDefinition made, std::string_view scope,
                       std::string_view action = "drop", std::string_view move = "keep") {
  made.arguments.set("x-message-deduplication", Value::boolean(true));
  made.arguments.set("x-deduplication-source", Value::long_string("body"));
  made.arguments.set("x-deduplication-scope", Value::long_string(scope));
  made.arguments.set("x-deduplication-action", Value::long_string(action));
  made.arguments.set("x-deduplication-move", Value::long_string(move));
  return made;
}

std::string large(int number) {
  return std::to_string(number) + std::string(1000, '.');
}

// Records put and not deleted in the batch.
std::vector<KeyRecord> records(const StoreBatch& batch) {
  std::map<std::string, std::string> left;
  for (const StoreBatch::Operation& operation : batch.operations()) {
    using Kind = StoreBatch::Operation::Kind;
    if (operation.kind == Kind::put_record) {
      left[batch.records()[operation.record].key] = batch.records()[operation.record].value;
    } else if (operation.kind == Kind::delete_record) {
      left.erase(batch.records()[operation.record].key);
    }
  }
  std::vector<KeyRecord> found;
  for (const auto& [key, value] : left) {
    const auto record = decode_key_record(key, value);
    REQUIRE(record);
    found.push_back(*record);
  }
  return found;
}

MessageRef with_ttl(std::string_view body, std::int64_t ttl_ms) {
  MessageParts parts;
  parts.persistent = true;
  parts.ttl_ms = ttl_ms;
  return Message::create(parts, body);
}

// All of them have the same message-id.
MessageRef with_id(std::string_view body) {
  BasicProperties properties;
  properties.message_id = "id";
  Buffer octets;
  properties.encode(octets);
  MessageParts parts;
  parts.properties = octets.view();
  return Message::create(parts, body);
}

struct Keys {
  DeduplicationSettings settings = [] {
    DeduplicationSettings made;
    made.enabled = true;
    made.source = DeduplicationSource::body;
    return made;
  }();
  StoreBatch batch;
  Deduplication keys{settings, batch, LaneId{9}};
  Timestamp now{Milliseconds(1000)};

  DeduplicationKey key(std::string_view body) { return *keys.key_of(*transient(body)); }

  void remember(std::string_view body, Sequence id) {
    keys.remember(key(body), {id, id, 1, true, true}, now);
  }

  bool knows(std::string_view body) { return keys.find(key(body), now) != nullptr; }
};

}  // namespace

TEST_SUITE("Queue: messages that come once") {
  TEST_CASE("a window forgets what is too old, and its records") {
    Keys bench;
    bench.settings.cache_ttl = Milliseconds(100);
    bench.keys.apply(bench.settings, bench.now);
    bench.remember("a", 1);
    bench.now += Milliseconds(60);
    bench.remember("b", 2);
    bench.now += Milliseconds(39);
    CHECK(bench.knows("a"));
    bench.now += Milliseconds(1);
    CHECK_FALSE(bench.knows("a"));
    CHECK(bench.knows("b"));
    REQUIRE(records(bench.batch).size() == 1);
    CHECK(records(bench.batch)[0].id == 2);
    CHECK(records(bench.batch)[0].queue == LaneId{9});
  }

  TEST_CASE("a smaller window and other sources forget at once") {
    Keys bench;
    for (Sequence id = 1; id <= 10; ++id)
      bench.remember(std::to_string(id), id);
    bench.settings.cache_size = 3;
    bench.keys.apply(bench.settings, bench.now);
    CHECK(bench.keys.size() == 3);
    CHECK(bench.knows("8"));
    bench.settings.source = DeduplicationSource::message_id;
    bench.keys.apply(bench.settings, bench.now);
    CHECK(bench.keys.size() == 0);
    CHECK(records(bench.batch).empty());
  }

  TEST_CASE("recovered keys are in the order of their age, and know which messages are gone") {
    Keys bench;
    bench.settings.cache_size = 2;
    bench.settings.action = DeduplicationAction::replace;
    bench.keys.apply(bench.settings, bench.now);
    bench.keys.recover({LaneId{9}, bench.key("old"), 5, bench.now, 1, bench.keys.fingerprint()});
    bench.keys.recover({LaneId{9}, bench.key("older"), 7, bench.now - Milliseconds(5), 1,
                        bench.keys.fingerprint()});
    bench.keys.recovered(0, 100, 1, 6);
    CHECK(bench.keys.find(bench.key("old"), bench.now)->id == 5);
    CHECK(bench.keys.find(bench.key("older"), bench.now)->id == 0);
    bench.remember("new", 6);
    CHECK_FALSE(bench.knows("older"));
    CHECK(bench.knows("old"));
  }

  TEST_CASE(
      "a key whose message the store does not have is forgotten with the scope of the queue") {
    Keys bench;
    bench.settings.scope = DeduplicationScope::in_queue;
    bench.keys.apply(bench.settings, bench.now);
    bench.keys.recover({LaneId{9}, bench.key("there"), 5, bench.now, 1, bench.keys.fingerprint()});
    bench.keys.recover({LaneId{9}, bench.key("below"), 2, bench.now, 1, bench.keys.fingerprint()});
    bench.keys.recover({LaneId{9}, bench.key("above"), 7, bench.now, 1, bench.keys.fingerprint()});
    bench.keys.recovered(0, 100, 3, 6);
    CHECK(bench.knows("there"));
    CHECK_FALSE(bench.knows("below"));
    CHECK_FALSE(bench.knows("above"));
  }

  TEST_CASE("the key is in the batch of its message and goes in that of its end") {
    QueueBench bench(unique(durable_queue(), "in-queue"));
    CHECK(bench.queue.enqueue(persistent("job"), bench.now) == Enqueued::stored);
    CHECK(records(bench.batch).size() == 1);
    CHECK(bench.queue.enqueue(persistent("job"), bench.now) == Enqueued::stored);
    CHECK(bench.queue.enqueue(transient("job"), bench.now) == Enqueued::held);
    CHECK(bench.queue.ready_count() == 1);
    CHECK(bench.queue.duplicate_count() == 2);
    const auto got = bench.get(false);
    bench.queue.settle(got->delivery.seq, Settlement::ack);
    CHECK(records(bench.batch).empty());
    CHECK(bench.queue.key_count() == 0);
    CHECK(bench.queue.enqueue(transient("job"), bench.now) == Enqueued::held);
    CHECK(records(bench.batch).empty());
    CHECK(bench.queue.ready_count() == 1);
  }

  TEST_CASE("keys of what is only on disk go when that is purged") {
    QueueBench bench(unique(durable_queue(), "in-queue"), 0);
    for (int i = 1; i <= 100; ++i)
      bench.queue.enqueue(persistent(large(i)), bench.now);
    bench.turns();
    CHECK(bench.queue.key_count() == 100);
    const auto got = bench.get(false);
    CHECK(bench.queue.purge() == 99);
    CHECK(bench.queue.key_count() == 1);
    bench.queue.settle(got->delivery.seq, Settlement::ack);
    CHECK(bench.queue.key_count() == 0);
  }

  TEST_CASE("what is only on disk is replaced: each key is there once, the newest with it") {
    for (const char* const scope : {"in-queue", "window"}) {
      CAPTURE(scope);
      QueueDefinition definition = unique(durable_queue(), scope, "replace", "tail");
      definition.arguments.set("x-cache-size", Value::int64(1000));
      QueueBench bench(definition, 0);
      for (int round = 0; round < 3; ++round) {
        for (int i = 1; i <= 100; ++i) {
          bench.queue.enqueue(persistent(large(i)), bench.now);
          if (i % 7 == 0) bench.turns();
        }
        CHECK(bench.queue.ready_count() == 100);
      }
      bench.turns();
      CHECK(bench.host.stored.size() == 100);
      const Bodies bodies = bench.get_all();
      REQUIRE(bodies.size() == 100);
      for (int i = 1; i <= 100; ++i)
        CHECK(bodies[static_cast<std::size_t>(i - 1)] == large(i));
    }
  }

  TEST_CASE("a message in the place of another is acknowledged where the store has it") {
    QueueBench bench(unique(durable_queue(), "in-queue", "replace"));
    for (const char* const body : {"a", "b", "c"})
      bench.queue.enqueue(persistent(body), bench.now);
    bench.queue.enqueue(persistent("a"), bench.now);
    bench.turns();
    CHECK(bench.host.stored.contains(4));
    CHECK(bench.host.stored.size() == 3);
    const auto got = bench.get(false);
    CHECK(got->delivery.message->body() == "a");
    CHECK(got->delivery.seq == 1);
    bench.queue.settle(1, Settlement::requeue);
    CHECK(bench.get_all() == Bodies{"a", "b", "c"});
    bench.queue.settle(1, Settlement::ack);
    bench.turns();
    CHECK_FALSE(bench.host.stored.contains(4));
    CHECK(bench.host.stored.size() == 2);
    CHECK(bench.queue.key_count() == 2);
  }

  TEST_CASE("a queue that takes every message from now on forgets its keys") {
    QueueBench bench(unique(durable_queue(), "window"));
    bench.queue.enqueue(persistent("a"), bench.now);
    bench.queue.apply(QueueSettings(), bench.now);
    CHECK(records(bench.batch).empty());
    CHECK(bench.queue.enqueue(persistent("a"), bench.now) == Enqueued::stored);
    CHECK(bench.queue.ready_count() == 2);
  }

  TEST_CASE("room that is kept for a key refuses others with it until it is given up") {
    QueueBench bench(unique(transient_queue(), "window", "reject"));
    const std::vector<MessageRef> job{transient("job")};
    const std::vector<MessageRef> twice{transient("x"), transient("x")};
    REQUIRE(bench.queue.reserve_keys(job));
    CHECK_FALSE(bench.queue.reserve_keys(job));
    CHECK_FALSE(bench.queue.reserve_keys(twice));
    CHECK(bench.queue.enqueue(transient("job"), bench.now) == Enqueued::refused);
    bench.queue.release_keys(job);
    CHECK(bench.queue.enqueue(transient("x"), bench.now) == Enqueued::held);
    REQUIRE(bench.queue.reserve_keys(job));
    CHECK(bench.queue.enqueue(job[0], bench.now, Admission::reserved) == Enqueued::held);
    CHECK(bench.queue.enqueue(transient("job"), bench.now) == Enqueued::refused);
    CHECK(bench.get_all() == Bodies{"x", "job"});
  }

  TEST_CASE("a job past its deadline is in nobody's way, though it lies on disk behind others") {
    QueueBench bench(unique(durable_queue(), "in-queue"), 0);
    for (int i = 1; i <= 3; ++i)
      bench.queue.enqueue(persistent(large(i)), bench.now);
    const MessageRef job = with_ttl(large(4), 50);
    bench.queue.enqueue(job, bench.now);
    bench.turns();
    CHECK(bench.queue.enqueue(job, bench.now) == Enqueued::stored);
    CHECK(bench.queue.duplicate_count() == 1);
    bench.pass(Milliseconds(50));
    bench.queue.enqueue(persistent(large(4)), bench.now);
    bench.turns();
    CHECK(bench.queue.duplicate_count() == 1);
    CHECK(bench.get_all() == Bodies{large(1), large(2), large(3), large(4)});
  }

  TEST_CASE("a job that somebody works on is in the way past its deadline, too") {
    QueueBench bench(unique(durable_queue(), "in-queue"));
    const MessageRef job = with_ttl("job", 50);
    bench.queue.enqueue(job, bench.now);
    REQUIRE(bench.get(false));
    bench.pass(Milliseconds(100));
    bench.queue.enqueue(job, bench.now);
    CHECK(bench.queue.duplicate_count() == 1);
    CHECK(bench.queue.ready_count() == 0);
  }

  TEST_CASE("a head on disk that has to go for want of room is in nobody's way") {
    QueueDefinition definition = unique(durable_queue(), "in-queue");
    definition.arguments.set("x-max-length", Value::int64(2));
    QueueBench bench(definition, 0);
    for (int i = 1; i <= 3; ++i)
      bench.queue.enqueue(persistent(large(i)), bench.now);
    bench.queue.enqueue(persistent(large(1)), bench.now);
    bench.turns();
    CHECK(bench.get_all() == Bodies{large(3), large(1)});
  }

  TEST_CASE("a job on disk that waits for its retry keeps its key") {
    QueueDefinition definition = unique(durable_queue(), "in-queue");
    definition.arguments.set("x-delayed-retry-type", Value::long_string("all"));
    definition.arguments.set("x-delayed-retry-min", Value::int64(100));
    QueueBench bench(definition, 0);
    bench.queue.enqueue(persistent(large(1)), bench.now);
    bench.turns();
    const auto got = bench.get(false);
    REQUIRE(got);
    bench.queue.settle(got->delivery.seq, Settlement::requeue);
    CHECK(bench.queue.enqueue(persistent(large(1)), bench.now) == Enqueued::stored);
    bench.turns();
    bench.queue.enqueue(persistent(large(1)), bench.now);
    CHECK(bench.queue.duplicate_count() == 2);
    bench.pass(Milliseconds(200));
    CHECK(bench.get_all() == Bodies{large(1)});
    CHECK(bench.queue.key_count() == 1);
  }

  TEST_CASE("a message that was replaced meanwhile is not withdrawn, nor is the one in its place") {
    QueueDefinition definition = unique(transient_queue(), "in-queue", "replace");
    definition.arguments.set("x-deduplication-source", Value::long_string("message-id"));
    QueueBench bench(definition);
    const MessageRef first = with_id("first");
    const MessageRef second = with_id("second");
    bench.queue.enqueue(first, bench.now);
    bench.queue.enqueue(second, bench.now);
    CHECK_FALSE(bench.queue.withdraw(1, *first));
    CHECK(bench.queue.withdraw(1, *with_id("second")));
  }

  TEST_CASE("a dead letter that comes back does not replace what came instead of it") {
    QueueDefinition definition = unique(transient_queue(), "in-queue", "replace");
    definition.arguments.set("x-deduplication-source", Value::long_string("message-id"));
    QueueBench bench(definition);
    bench.queue.enqueue(with_id("second"), bench.now);
    const MessageRef first =
        dead_copy(*with_id("first"), {"q", DeathReason::rejected, bench.now}, {"", "q"});
    CHECK_FALSE(bench.queue.reserve_keys(std::vector{first}, Duplicates::kept));
    bench.queue.enqueue(first, bench.now);
    CHECK(bench.get_all() == Bodies{"second"});
  }

  TEST_CASE("what died in the queue needs no room for its key in a window") {
    QueueBench bench(unique(transient_queue(), "window", "reject"));
    bench.queue.enqueue(transient("job"), bench.now);
    const std::vector<MessageRef> back{
        dead_copy(*with_id("job"), {"q", DeathReason::rejected, bench.now}, {"", "q"})};
    CHECK(bench.queue.reserve_keys(back));
    CHECK(bench.queue.enqueue(back[0], bench.now, Admission::reserved) == Enqueued::held);
    CHECK(bench.queue.ready_count() == 2);
  }

  TEST_CASE("keys that were recorded under other settings are not recovered") {
    Keys bench;
    const std::uint32_t then = bench.keys.fingerprint();
    bench.settings.scope = DeduplicationScope::in_queue;
    bench.keys.apply(bench.settings, bench.now);
    CHECK(bench.keys.fingerprint() != then);
    bench.keys.recover({LaneId{9}, bench.key("a"), 5, bench.now, 1, then});
    bench.keys.recover({LaneId{9}, bench.key("b"), 6, bench.now, 1, bench.keys.fingerprint()});
    CHECK_FALSE(bench.knows("a"));
    CHECK(bench.knows("b"));
  }
}
