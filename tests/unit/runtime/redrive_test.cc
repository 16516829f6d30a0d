#include "broker/runtime/redrive.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "broker/core/death.h"
#include "protocol/properties.h"
#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

using State = RedriveStatus::State;

MessageRef dead_letter(std::string_view body, std::string_view origin,
                       DeathReason reason = DeathReason::rejected) {
  MessageParts parts;
  parts.persistent = true;
  parts.routing_key = origin;
  BasicProperties properties;
  properties.headers.emplace();
  properties.headers->set("kind", Value::long_string(body.substr(0, 1)));
  Buffer octets;
  properties.encode(octets);
  parts.properties = octets.view();
  const MessageRef message = Message::create(parts, body);
  return dead_copy(*message, {origin, reason, Timestamp(Milliseconds(1000))}, {"", "dead"});
}

// Origins on every shard, and dead letters of theirs on the last one.
struct Bench {
  explicit Bench(ShardIndex shards, MemoryStore* store = nullptr) : cluster(shards, store) {
    for (ShardIndex home = 0; home < shards; ++home) {
      origins.push_back(cluster.name_at(home));
      declare(origins.back());
    }
    do {
      dead += "dead";
    } while (home_shard("/", dead, shards) + 1 != shards);
    declare(dead);
  }

  void declare(const std::string& name) {
    if (cluster.vhost(0).find_queue(name) != nullptr) return;
    REQUIRE(cluster.declare(0, a_durable_queue(name)) == "ok");
  }

  RedriveRequest request() const {
    RedriveRequest made;
    made.vhost = "/";
    made.queue = dead;
    return made;
  }

  Result<RedriveStatus, std::string> start(RedriveRequest wanted) {
    std::optional<Result<RedriveStatus, std::string>> answer;
    cluster.turn(0, [&] {
      start_redrive(cluster.shard(0), std::move(wanted), RedriveAnswer::when_started,
                    [&](auto said) { answer = std::move(said); });
    });
    cluster.run();
    REQUIRE(answer);
    return *answer;
  }

  RedriveStatus status() {
    std::vector<RedriveStatus> all;
    cluster.turn(
        0, [&] { list_redrives(cluster.shard(0), [&](auto found) { all = std::move(found); }); });
    cluster.run();
    REQUIRE_FALSE(all.empty());
    return all.back();
  }

  std::optional<bool> cancel(std::uint64_t job) {
    std::optional<bool> cancelled;
    cluster.turn(
        0, [&] { cancel_redrive(cluster.shard(0), job, [&](bool found) { cancelled = found; }); });
    cluster.run();
    return cancelled;
  }

  // Time passes, with the jobs that wait for it.
  void pass(Milliseconds time) {
    const Timestamp until = cluster.clock.now() + time;
    while (cluster.clock.now() < until) {
      cluster.clock.advance(Milliseconds(10));
      for (ShardIndex index = 0; index < cluster.size(); ++index)
        cluster.turn(index, [&] { cluster.shard(index).run_timers(); });
      cluster.run();
    }
  }

  // Numbered, from each origin in turn.
  void fill(int count) {
    std::vector<MessageRef> messages;
    for (int i = 0; i < count; ++i) {
      messages.push_back(
          dead_letter(std::to_string(i), origins[static_cast<std::size_t>(i) % origins.size()]));
    }
    cluster.publish(dead, messages);
    cluster.run();
  }

  std::vector<std::string> origins;
  std::string dead;
  Cluster cluster;
};

Bodies numbers(int first, int step, int end) {
  Bodies bodies;
  for (int i = first; i < end; i += step)
    bodies.push_back(std::to_string(i));
  return bodies;
}

std::string headers_of(const Got& got) {
  const auto properties = parse_properties(got.delivery.message->properties());
  return to_text(properties->headers->to_owned());
}

}  // namespace

TEST_SUITE("redrive") {
  TEST_CASE("dead letters go home in order, over one shard or several") {
    for (const ShardIndex shards : {ShardIndex{1}, ShardIndex{3}}) {
      CAPTURE(shards);
      Bench bench(shards);
      bench.fill(1000);
      REQUIRE(bench.start(bench.request()));
      const RedriveStatus status = bench.status();
      CHECK(status.state == State::done);
      CHECK(status.moved == 1000);
      CHECK(status.examined == 1000);
      CHECK(bench.cluster.queue(bench.dead).ready_count() == 0);
      for (int i = 0; i < shards; ++i) {
        CHECK(bench.cluster.drain(bench.origins[static_cast<std::size_t>(i)]) ==
              numbers(i, shards, 1000));
      }
    }
  }

  TEST_CASE("a moved message says how often that happened and keeps its history unless told") {
    Bench bench(2);
    bench.fill(1);
    REQUIRE(bench.start(bench.request()));
    auto got = bench.cluster.get(bench.origins[0], true);
    REQUIRE(got);
    CHECK(headers_of(*got).find("x-redriven-count=1") != std::string::npos);
    CHECK(headers_of(*got).find("x-death") != std::string::npos);
    CHECK(got->delivery.message->routing_key() == bench.origins[0]);
    CHECK(died_in(*got->delivery.message, bench.origins[0]));
    CHECK(has_mark(got->delivery.message->properties(), PropertyMark::spent_copies));
    bench.cluster.publish(bench.dead, {got->delivery.message});
    bench.cluster.run();
    RedriveRequest again = bench.request();
    again.history = History::reset;
    REQUIRE(bench.start(again));
    got = bench.cluster.get(bench.origins[0], true);
    REQUIRE(got);
    CHECK(headers_of(*got).find("x-redriven-count=2") != std::string::npos);
    CHECK(headers_of(*got).find("death") == std::string::npos);
    CHECK_FALSE(died_in(*got->delivery.message, bench.origins[0]));
  }

  TEST_CASE("what does not match or has no destination stays in its place") {
    Bench bench(2);
    bench.cluster.publish(
        bench.dead,
        {dead_letter("a1", bench.origins[0]), persistent("b plain"), dead_letter("c gone", "gone"),
         dead_letter("a2", bench.origins[1], DeathReason::expired),
         dead_letter("a3", bench.origins[0]), dead_letter("d1", bench.origins[0])});
    bench.cluster.run();
    RedriveRequest request = bench.request();
    request.filter.queue = bench.origins[0];
    request.filter.headers = {{"kind", "a"}};
    request.dry_run = true;
    REQUIRE(bench.start(request));
    CHECK(bench.status().matched == 2);
    CHECK(bench.status().moved == 0);
    CHECK(bench.cluster.queue(bench.dead).ready_count() == 6);
    request.dry_run = false;
    REQUIRE(bench.start(request));
    CHECK(bench.status().moved == 2);
    CHECK(bench.cluster.drain(bench.origins[0]) == Bodies{"a1", "a3"});
    request = bench.request();
    request.filter.reason = "expired";
    REQUIRE(bench.start(request));
    CHECK(bench.cluster.drain(bench.origins[1]) == Bodies{"a2"});
    REQUIRE(bench.start(bench.request()));
    CHECK(bench.status().unroutable == 2);
    CHECK(bench.cluster.drain(bench.origins[0]) == Bodies{"d1"});
    CHECK(bench.cluster.drain(bench.dead) == Bodies{"b plain", "c gone"});
  }

  TEST_CASE(
      "a queue or an exchange may be the destination; a full queue keeps them where they are") {
    Bench bench(2);
    QueueDefinition full = a_durable_queue("full");
    full.arguments.set("x-max-length", Value::int64(3));
    full.arguments.set("x-overflow", Value::long_string("reject-publish"));
    REQUIRE(bench.cluster.declare(0, full) == "ok");
    REQUIRE(bench.cluster.declare(0, an_exchange("x", "fanout")) == "ok");
    REQUIRE(bench.cluster.bind(0, to_queue("x", bench.origins[0])) == "ok");
    REQUIRE(bench.cluster.bind(0, to_queue("x", bench.origins[1])) == "ok");
    bench.fill(10);
    RedriveRequest request = bench.request();
    request.target = {RedriveTarget::Kind::queue, "full", {}};
    REQUIRE(bench.start(request));
    CHECK(bench.status().moved == 3);
    CHECK(bench.status().refused == 7);
    CHECK(bench.cluster.drain("full") == numbers(0, 1, 3));
    request.target = {RedriveTarget::Kind::exchange, "x", "key"};
    request.limit = 5;
    REQUIRE(bench.start(request));
    CHECK(bench.status().moved == 5);
    CHECK(bench.cluster.drain(bench.origins[0]) == numbers(3, 1, 8));
    CHECK(bench.cluster.drain(bench.origins[1]) == numbers(3, 1, 8));
    CHECK(bench.cluster.drain(bench.dead) == numbers(8, 1, 10));
  }

  TEST_CASE("a rate is kept, and a job is cancelled in the middle") {
    Bench bench(2);
    bench.fill(100);
    RedriveRequest request = bench.request();
    request.rate = 20;
    const auto started = bench.start(request);
    REQUIRE(started);
    CHECK_FALSE(bench.start(bench.request()));
    bench.pass(Milliseconds(1000));
    CHECK(bench.status().moved >= 18);
    CHECK(bench.status().moved <= 22);
    CHECK(bench.cancel(started->job) == true);
    CHECK(bench.cancel(started->job) == false);
    const std::uint64_t moved = bench.status().moved;
    bench.pass(Milliseconds(1000));
    CHECK(bench.status().state == State::cancelled);
    CHECK(bench.status().moved == moved);
    CHECK(bench.cluster.queue(bench.dead).ready_count() == 100 - moved);
    REQUIRE(bench.start(bench.request()));
    CHECK(bench.status().moved == 100 - moved);
  }

  TEST_CASE(
      "what a consumer has is not touched, and the job ends with what was there at its begin") {
    Bench bench(1);
    bench.fill(3);
    const auto held = bench.cluster.get(bench.dead, false);
    REQUIRE(held);
    REQUIRE(bench.start(bench.request()));
    CHECK(bench.status().moved == 2);
    CHECK(bench.cluster.queue(bench.dead).unacked_count() == 1);
    CHECK(bench.cluster.drain(bench.origins[0]) == numbers(1, 1, 3));
  }

  TEST_CASE("errors name what is not there") {
    Bench bench(2);
    RedriveRequest request = bench.request();
    request.queue = "none";
    CHECK(bench.start(request).error() == "no queue 'none' in vhost '/'");
    request = bench.request();
    request.vhost = "none";
    CHECK(bench.start(request).error() == "virtual host 'none' does not exist");
    request = bench.request();
    request.target = {RedriveTarget::Kind::exchange, "none", {}};
    CHECK(bench.start(request).error() == "no exchange 'none' in vhost '/'");
    request.target = {RedriveTarget::Kind::queue, bench.dead, {}};
    CHECK(bench.start(request).error() == "a queue cannot be redriven to itself");
  }

  TEST_CASE("dead letters that are only on disk go home, too") {
    MemoryStore store;
    {
      Bench bench(2, &store);
      bench.fill(500);
      bench.cluster.stop();
    }
    store.reopen();
    Bench bench(2, &store);
    RedriveRequest request = bench.request();
    request.filter.queue = bench.origins[1];
    REQUIRE(bench.start(request));
    CHECK(bench.status().moved == 250);
    CHECK(bench.cluster.drain(bench.origins[1]) == numbers(1, 2, 500));
    CHECK(bench.cluster.drain(bench.dead) == numbers(0, 2, 500));
  }

  TEST_CASE("what its queue would drop as a duplicate goes home, or stays where it is") {
    for (const char* const action : {"drop", "reject"}) {
      CAPTURE(action);
      Bench bench(2);
      QueueDefinition window = a_durable_queue("window");
      window.arguments.set("x-message-deduplication", Value::boolean(true));
      window.arguments.set("x-deduplication-source", Value::long_string("body"));
      window.arguments.set("x-deduplication-action", Value::long_string(action));
      REQUIRE(bench.cluster.declare(0, window) == "ok");
      bench.cluster.publish("window", {persistent("job"), persistent("other")});
      CHECK(bench.cluster.drain("window") == Bodies{"job", "other"});
      bench.cluster.publish(bench.dead,
                            {dead_letter("job", "window"), dead_letter("other", "elsewhere")});
      RedriveRequest request = bench.request();
      request.target = {RedriveTarget::Kind::queue, "window", {}};
      request.history = History::reset;
      REQUIRE(bench.start(request));
      CHECK(bench.status().moved == 1);
      CHECK(bench.status().refused == 1);
      CHECK(bench.cluster.drain("window") == Bodies{"job"});
      CHECK(bench.cluster.drain(bench.dead) == Bodies{"other"});
    }
  }

  TEST_CASE("large messages are moved a few at a time") {
    Bench bench(1);
    const std::string body(std::size_t{200} << 10, 'x');
    for (int i = 0; i < 10; ++i)
      bench.cluster.publish(bench.dead, {dead_letter(body, bench.origins[0])});
    bench.cluster.run();
    bench.cluster.store.hold();
    REQUIRE(bench.start(bench.request()));
    CHECK(bench.status().moved == 2);
    bench.cluster.store.release();
    bench.cluster.run();
    CHECK(bench.status().moved == 10);
  }

  TEST_CASE("a rate may be beyond all numbers") {
    Bench bench(1);
    bench.fill(300);
    RedriveRequest request = bench.request();
    request.rate = 1e300;
    REQUIRE(bench.start(request));
    bench.pass(Milliseconds(100));
    CHECK(bench.status().moved == 300);
  }
}
