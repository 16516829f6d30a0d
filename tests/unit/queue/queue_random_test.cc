#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "broker/core/queue.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// A queue in its plainest form, fed with the same operations. Every delivery of the real one is
// held against it: it must be the oldest ready message, to a consumer that may take it, above whom
// nobody of higher priority may.
class Model {
 public:
  struct Entry {
    std::string body;
    bool stored = false;
    bool persistent = false;
    bool redelivered = false;
    int consumer = -1;  // who holds it, -1: a basic.get
  };

  struct Subscriber {
    std::unique_ptr<FakeConsumer> port;
    QueueConsumer* record = nullptr;
    ConsumerOptions options;
    std::set<Sequence> unacked;

    bool attached() const { return record != nullptr; }

    bool able() const {
      return attached() && port->open &&
             (options.prefetch == 0 || unacked.size() < options.prefetch);
    }
  };

  std::map<Sequence, Entry> ready;
  std::map<Sequence, Entry> unacked;
  std::vector<Subscriber> subscribers;
  Sequence next_seq = 1;

  std::optional<std::int32_t> highest_able() const {
    std::optional<std::int32_t> highest;
    for (const Subscriber& subscriber : subscribers) {
      if (!subscriber.able()) continue;
      highest =
          std::max(highest.value_or(subscriber.options.priority), subscriber.options.priority);
    }
    return highest;
  }

  std::size_t attached_count() const {
    return static_cast<std::size_t>(
        std::count_if(subscribers.begin(), subscribers.end(),
                      [](const Subscriber& subscriber) { return subscriber.attached(); }));
  }

  std::uint64_t ready_bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& [seq, entry] : ready)
      bytes += entry.body.size();
    return bytes;
  }

  std::set<Sequence> stored() const {
    std::set<Sequence> sequences;
    for (const auto* part : {&ready, &unacked}) {
      for (const auto& [seq, entry] : *part) {
        if (entry.stored) sequences.insert(seq);
      }
    }
    return sequences;
  }

  void delivered(int to, const Delivery& delivery) {
    Subscriber& subscriber = subscribers[static_cast<std::size_t>(to)];
    REQUIRE(subscriber.able());
    REQUIRE(highest_able() == subscriber.options.priority);
    take(delivery, to, subscriber.options.no_ack);
    if (!subscriber.options.no_ack) subscriber.unacked.insert(delivery.seq);
  }

  void take(const Delivery& delivery, int holder, bool no_ack) {
    REQUIRE_FALSE(ready.empty());
    REQUIRE(delivery.seq == ready.begin()->first);
    Entry entry = std::move(ready.begin()->second);
    ready.erase(ready.begin());
    REQUIRE(delivery.message->body() == entry.body);
    REQUIRE(delivery.redelivered == entry.redelivered);
    entry.consumer = holder;
    if (!no_ack) unacked.emplace(delivery.seq, std::move(entry));
  }

  void settle(Sequence seq, Settlement how) {
    const auto found = unacked.find(seq);
    if (found == unacked.end()) return;
    Entry entry = std::move(found->second);
    unacked.erase(found);
    if (entry.consumer >= 0) {
      subscribers[static_cast<std::size_t>(entry.consumer)].unacked.erase(seq);
    }
    if (how != Settlement::requeue) return;
    entry.redelivered = true;
    ready.emplace(seq, std::move(entry));
  }
};

class RandomRun {
 public:
  // With `paging` there is memory for a few messages only.
  RandomRun(unsigned seed, bool durable, bool paging)
      : random_(seed),
        bench_(durable ? durable_queue() : transient_queue(), paging ? 0 : QueueBench::kPlenty),
        durable_(durable),
        body_max_(paging ? 2000 : 5) {
    bench_.host.spare_lane = LaneId{9};
  }

  void step() {
    const unsigned dice = below(100);
    if (dice < 35) {
      publish();
    } else if (dice < 40) {
      publish_immediate();
    } else if (dice < 70) {
      settle_some();
    } else if (dice < 76) {
      get();
    } else if (dice < 84) {
      open_or_shut();
    } else if (dice < 91) {
      subscribe();
    } else if (dice < 97) {
      cancel();
    } else if (dice < 98) {
      purge();
    } else if (dice < 99) {
      withdraw_some();
    } else {
      bench_.queue.settle(below(static_cast<unsigned>(model_.next_seq) + 3) + 1'000'000'000,
                          Settlement::requeue);
    }
    check();
  }

  // What a restart finds in the store is what was stored and not settled, in order.
  void restart() {
    if (!durable_) return;
    QueueBench again(durable_queue());
    std::vector<StoredEntry> entries;
    Sequences expected;
    for (const auto& [seq, entry] : bench_.host.stored) {
      if (!entry.message->persistent()) continue;
      entries.push_back(entry);
      expected.push_back(seq);
    }
    again.recover(entries, std::max(model_.next_seq, Sequence{1}));
    again.queue.check_invariants();
    Sequences found;
    while (auto got = again.get(false))
      found.push_back(got->delivery.seq);
    REQUIRE(found == expected);
  }

 private:
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }

  static MessageRef message_of(const Model::Entry& entry) {
    return entry.persistent ? persistent(entry.body) : transient(entry.body);
  }

  Model::Entry prepare(MessageRef& message) {
    Model::Entry entry;
    entry.body = std::to_string(model_.next_seq) + std::string(below(body_max_), '.');
    entry.stored = durable_ && below(2) == 0;
    entry.persistent = entry.stored || (!durable_ && below(2) == 0);
    message = message_of(entry);
    return entry;
  }

  void publish() {
    MessageRef message;
    Model::Entry entry = prepare(message);
    const bool stored = entry.stored;
    model_.ready.emplace(model_.next_seq++, std::move(entry));
    const Enqueued result = bench_.queue.enqueue(std::move(message), bench_.now);
    REQUIRE((result == Enqueued::stored) == stored);
  }

  void publish_immediate() {
    MessageRef message;
    Model::Entry entry = prepare(message);
    const bool expected = model_.ready.empty() && model_.highest_able().has_value();
    REQUIRE(bench_.queue.takes_at_once() == expected);
    if (!expected) return;
    model_.ready.emplace(model_.next_seq++, std::move(entry));
    bench_.queue.enqueue(std::move(message), bench_.now);
  }

  void settle_some() {
    for (unsigned left = 1 + below(3); left > 0 && !model_.unacked.empty(); --left) {
      auto victim = model_.unacked.begin();
      std::advance(victim, below(static_cast<unsigned>(model_.unacked.size())));
      const Sequence seq = victim->first;
      const Settlement how = std::array{Settlement::ack, Settlement::ack, Settlement::requeue,
                                        Settlement::discard}[below(4)];
      model_.settle(seq, how);
      bench_.queue.settle(seq, how);
      bench_.queue.check_invariants();
    }
    bench_.queue.pump();
  }

  void get() {
    const bool no_ack = below(2) == 0;
    bench_.turns();  // consumers have what they can take
    const auto got = bench_.get(no_ack);
    REQUIRE(got.has_value() == !model_.ready.empty());
    if (!got) return;
    model_.take(got->delivery, -1, no_ack);
    REQUIRE(got->ready_left == model_.ready.size());
  }

  void open_or_shut() {
    if (model_.subscribers.empty()) return;
    Model::Subscriber& one =
        model_.subscribers[below(static_cast<unsigned>(model_.subscribers.size()))];
    one.port->open = !one.port->open;
    if (one.port->open && one.attached()) bench_.queue.resume(*one.record);
  }

  void subscribe() {
    if (model_.attached_count() >= 5) return;
    const int number = static_cast<int>(model_.subscribers.size());
    Model::Subscriber added;
    added.port = std::make_unique<FakeConsumer>();
    added.port->on_deliver = [this, number](const Delivery& delivery) {
      model_.delivered(number, delivery);
    };
    added.options.no_ack = below(4) == 0;
    added.options.exclusive = below(8) == 0;
    if (!added.options.no_ack) added.options.prefetch = below(4);
    added.options.priority = static_cast<std::int32_t>(below(3)) - 1;
    const bool has_exclusive = std::any_of(
        model_.subscribers.begin(), model_.subscribers.end(),
        [](const Model::Subscriber& one) { return one.attached() && one.options.exclusive; });
    const bool expected =
        !has_exclusive && !(added.options.exclusive && model_.attached_count() > 0);
    const auto result = bench_.queue.consume(*added.port, added.options);
    REQUIRE(result.has_value() == expected);
    if (!result) return;
    added.record = *result;
    model_.subscribers.push_back(std::move(added));
    bench_.queue.pump();
  }

  void cancel() {
    if (model_.subscribers.empty()) return;
    Model::Subscriber& one =
        model_.subscribers[below(static_cast<unsigned>(model_.subscribers.size()))];
    if (!one.attached()) return;
    REQUIRE_FALSE(bench_.queue.cancel(*std::exchange(one.record, nullptr)));
  }

  void purge() {
    const std::size_t expected = model_.ready.size();
    model_.ready.clear();
    REQUIRE(bench_.queue.purge() == expected);
  }

  // Ready messages are moved away, some of them next to each other.
  void withdraw_some() {
    for (unsigned left = 1 + below(8); left > 0 && !model_.ready.empty(); --left) {
      auto victim = model_.ready.begin();
      if (below(2) == 0) std::advance(victim, below(static_cast<unsigned>(model_.ready.size())));
      const MessageRef message = message_of(victim->second);
      REQUIRE(bench_.queue.has_ready(victim->first));
      REQUIRE(bench_.queue.withdraw(victim->first, *message));
      REQUIRE_FALSE(bench_.queue.withdraw(victim->first, *message));
      model_.ready.erase(victim);
    }
    look();
    bench_.queue.pump();
  }

  // What is in memory is found where it is.
  void look() {
    const auto [begin, end] = bench_.queue.ranges().front();
    const LevelLook look = bench_.queue.look(begin, end, 1000);
    auto expected = model_.ready.begin();
    for (const LevelLook::Seen& seen : look.seen) {
      REQUIRE(expected != model_.ready.end());
      REQUIRE(seen.seq == expected->first);
      REQUIRE(seen.message->body() == (expected++)->second.body);
    }
    REQUIRE((look.on_disk || expected == model_.ready.end()));
  }

  void check() {
    bench_.queue.check_invariants();
    REQUIRE(bench_.queue.ready_count() == model_.ready.size());
    REQUIRE(bench_.queue.unacked_count() == model_.unacked.size());
    REQUIRE(bench_.queue.ready_bytes() == model_.ready_bytes());
    REQUIRE(bench_.queue.consumer_count() == model_.attached_count());
    if (below(3) == 0) return;  // the answer of the store comes some steps later
    bench_.turns();
    // Nobody waits beside a message.
    REQUIRE((model_.ready.empty() || !model_.highest_able().has_value()));
    check_store();
  }

  // The store has what must survive, and nothing that has left.
  void check_store() {
    bench_.host.commit();
    std::set<Sequence> persistent;
    for (const auto& [seq, entry] : bench_.host.stored) {
      REQUIRE((model_.ready.contains(seq) || model_.unacked.contains(seq)));
      if (durable_ && entry.message->persistent()) persistent.insert(seq);
    }
    REQUIRE(persistent == model_.stored());
  }

  std::mt19937 random_;
  Model model_;
  QueueBench bench_;
  const bool durable_;
  const unsigned body_max_;
};

}  // namespace

TEST_SUITE("Queue: random use") {
  TEST_CASE("the queue agrees with its model, and the store with both") {
    const unsigned seed = random_seed();
    for (unsigned round = 0; round < 30; ++round) {
      CAPTURE(seed);
      CAPTURE(round);
      RandomRun run(seed + round, round % 3 != 0, round % 2 == 0);
      for (int step = 0; step < 1500; ++step) {
        CAPTURE(step);
        run.step();
      }
      run.restart();
    }
  }
}
