// What it costs a queue to take a message, hand it out and have it acknowledged: the path that
// every message goes. Prints nanoseconds per message; for instructions,
//
//   valgrind --tool=callgrind --toggle-collect='*run_*' queue_bench 100000
//
//   queue_bench [messages per line, default 2000000]

#include <malloc.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "broker/core/queue.h"

namespace harrier {
namespace {

long messages = 2'000'000;

class BenchHost final : public QueueHost {
 public:
  Timestamp now() const override { return Timestamp(Milliseconds(1'000'000)); }

  void wake_at(Queue&, Timestamp) override {}

  void delete_unused(Queue&) override {}

  void dead_letter(Queue&, DeadLetter) override {}

  StoreBatch& batch() override { return batch_; }

  MessageMemory& memory() override { return memory_; }

  std::optional<LaneId> take_lane() override { return std::nullopt; }

  void read(Queue&, const PageRequest&) override {}

  void later(Task) override {}

 private:
  StoreBatch batch_;
  MessageMemory memory_{std::uint64_t{1} << 34};
};

class BenchConsumer final : public Consumer {
 public:
  bool can_take() const override { return true; }

  void deliver(Delivery&& delivery) override { taken.push_back(delivery.seq); }

  void cancelled() override {}

  std::vector<Sequence> taken;
};

QueueDefinition definition(bool durable) {
  QueueDefinition made;
  made.name = "q";
  made.vhost = "/";
  made.id = QueueId{1};
  made.lane = LaneId{1};
  made.durable = durable;
  return made;
}

void report(const char* what, std::chrono::steady_clock::time_point start) {
  const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
  std::printf("%-40s %8.1f ns\n", what, taken.count() / static_cast<double>(messages));
}

// Handed out at once, acknowledged `behind` messages later.
void run_steady(const char* what, bool durable, std::size_t behind) {
  QueueHandle handle(definition(durable));
  BenchHost host;
  Queue queue(handle, host);
  BenchConsumer consumer;
  if (!queue.consume(consumer, {})) std::abort();
  MessageParts parts;
  parts.persistent = durable;
  const MessageRef message = Message::create(parts, "a body of some octets");
  const Timestamp now{Milliseconds(1'000'000)};
  std::size_t settled = 0;
  const auto start = std::chrono::steady_clock::now();
  for (long i = 0; i < messages; ++i) {
    queue.enqueue(message, now);
    if (consumer.taken.size() - settled < behind) continue;
    for (; settled < consumer.taken.size(); ++settled)
      queue.settle(consumer.taken[settled], Settlement::ack);
    queue.pump();
    consumer.taken.clear();
    settled = 0;
    host.batch().clear();
  }
  report(what, start);
}

// All is published, then all is consumed.
void run_depth(const char* what, bool durable) {
  QueueHandle handle(definition(durable));
  BenchHost host;
  Queue queue(handle, host);
  BenchConsumer consumer;
  MessageParts parts;
  parts.persistent = durable;
  const MessageRef message = Message::create(parts, "a body of some octets");
  const Timestamp now{Milliseconds(1'000'000)};
  consumer.taken.reserve(static_cast<std::size_t>(messages));
  const auto start = std::chrono::steady_clock::now();
  for (long i = 0; i < messages; ++i) {
    queue.enqueue(message, now);
    if (i % 1000 == 0) host.batch().clear();
  }
  if (!queue.consume(consumer, {})) std::abort();
  queue.pump();
  for (std::size_t i = 0; i < consumer.taken.size(); ++i) {
    queue.settle(consumer.taken[i], Settlement::ack);
    if (i % 1000 == 0) host.batch().clear();
  }
  report(what, start);
}

std::size_t allocated() {
  const struct mallinfo2 heap = ::mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

// Each with a time to live of its own, in no order: what they take besides the messages, and how
// fast they go.
void run_expiry() {
  QueueHandle handle(definition(false));
  BenchHost host;
  Queue queue(handle, host);
  Timestamp now = host.now();
  std::mt19937 random(1);
  std::vector<MessageRef> published;
  for (long i = 0; i < messages; ++i) {
    MessageParts parts;
    parts.ttl_ms = static_cast<std::int64_t>(1 + random() % 1'000'000);
    published.push_back(Message::create(parts, "x"));
  }
  const std::size_t before = allocated();
  for (const MessageRef& message : published)
    queue.enqueue(message, now);
  const std::size_t taken = allocated() - before;
  std::printf("%-40s %8.1f octets\n", "a place and a deadline in memory",
              static_cast<double>(taken) / static_cast<double>(messages));
  published.clear();
  const auto start = std::chrono::steady_clock::now();
  while (queue.ready_count() > 0)
    queue.tick(now += Milliseconds(100));
  report("expires", start);
}

}  // namespace
}  // namespace harrier

int main(int argc, char** argv) {
  if (argc > 1) harrier::messages = std::atol(argv[1]);
  harrier::run_steady("transient, acknowledged one by one", false, 1);
  harrier::run_steady("transient, 100 unacknowledged", false, 100);
  harrier::run_steady("durable, 100 unacknowledged", true, 100);
  harrier::run_depth("transient, all published first", false);
  harrier::run_depth("durable, all published first", true);
  harrier::run_expiry();
}
