#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/clock.h"
#include "broker/core/queue.h"
#include "protocol/reply_code.h"
#include "storage/store.h"

namespace harrier::test {

using Bodies = std::vector<std::string>;
using Sequences = std::vector<Sequence>;

inline MessageRef transient(std::string_view body) {
  return Message::create(MessageParts{}, body);
}

inline MessageRef persistent(std::string_view body) {
  MessageParts parts;
  parts.persistent = true;
  return Message::create(parts, body);
}

// A client's end of a consumer: takes deliveries while `open` and keeps them.
class FakeConsumer final : public Consumer {
 public:
  bool can_take() const override { return open; }

  void deliver(Delivery&& delivery) override {
    if (on_deliver) on_deliver(delivery);
    deliveries.push_back(std::move(delivery));
  }

  void cancelled() override { ++cancels; }

  Bodies bodies() const {
    Bodies all;
    for (const Delivery& delivery : deliveries)
      all.emplace_back(delivery.message->body());
    return all;
  }

  Sequence last_seq() const { return deliveries.back().seq; }

  bool open = true;
  int cancels = 0;
  std::vector<Delivery> deliveries;
  std::function<void(const Delivery&)> on_deliver;
};

inline QueueDefinition transient_queue() {
  QueueDefinition made;
  made.name = "q";
  made.vhost = "/";
  made.id = QueueId{7};
  return made;
}

inline QueueDefinition durable_queue() {
  QueueDefinition made = transient_queue();
  made.durable = true;
  made.lane = LaneId{9};
  return made;
}

// One queue with the batch its shard would fill.
struct QueueBench {
  explicit QueueBench(QueueDefinition definition = transient_queue())
      : handle(std::move(definition)) {}

  ~QueueBench() { queue.check_invariants(); }

  // One transient message per body.
  void publish(const Bodies& bodies) {
    for (const std::string& body : bodies)
      queue.enqueue(transient(body), now);
  }

  QueueConsumer& consume(FakeConsumer& port, ConsumerOptions options = {}) {
    const auto added = queue.consume(port, std::move(options));
    REQUIRE(added);
    queue.pump();
    return **added;
  }

  void settle(const Sequences& sequences, Settlement how) {
    for (const Sequence seq : sequences)
      queue.settle(seq, how);
    queue.pump();
  }

  // Bodies by basic.get, unacknowledged, until the queue is empty.
  Bodies get_all() {
    Bodies bodies;
    while (auto got = queue.get(false))
      bodies.emplace_back(got->delivery.message->body());
    return bodies;
  }

  QueueHandle handle;
  StoreBatch batch;
  Queue queue{handle, batch};
  Timestamp now{Milliseconds(1000)};
};

inline ConsumerOptions with_prefetch(std::uint32_t prefetch) {
  ConsumerOptions options;
  options.prefetch = prefetch;
  return options;
}

inline ConsumerOptions with_priority(std::int32_t priority, std::uint32_t prefetch = 0) {
  ConsumerOptions options = with_prefetch(prefetch);
  options.priority = priority;
  return options;
}

inline ConsumerOptions no_ack() {
  ConsumerOptions options;
  options.no_ack = true;
  return options;
}

inline ConsumerOptions exclusive() {
  ConsumerOptions options;
  options.exclusive = true;
  return options;
}

// Where a random test starts; printed, and set by HARRIER_SEED to run it again.
inline unsigned random_seed() {
  const char* wanted = std::getenv("HARRIER_SEED");
  const unsigned seed = wanted == nullptr
                            ? std::random_device()()
                            : static_cast<unsigned>(std::strtoul(wanted, nullptr, 10));
  MESSAGE("HARRIER_SEED=", seed);
  return seed;
}

}  // namespace harrier::test

template <>
struct doctest::StringMaker<harrier::test::Bodies> {
  static String convert(const harrier::test::Bodies& bodies) {
    std::string shown;
    for (const std::string& body : bodies)
      shown += body + " ";
    return shown.c_str();
  }
};

template <>
struct doctest::StringMaker<harrier::test::Sequences> {
  static String convert(const harrier::test::Sequences& sequences) {
    std::string shown;
    for (const harrier::Sequence seq : sequences)
      shown += std::to_string(seq) + " ";
    return shown.c_str();
  }
};
