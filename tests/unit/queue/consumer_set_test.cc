#include "broker/core/queue_parts/consumer_set.h"

#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// Gives `count` messages out and returns who got them, as positions in `ports`.
std::vector<int> turns(ConsumerSet& set, const std::vector<FakeConsumer*>& ports, int count) {
  std::vector<int> order;
  for (int i = 0; i < count; ++i) {
    QueueConsumer* next = set.next();
    if (next == nullptr) {
      order.push_back(-1);
      continue;
    }
    ++next->unacked;
    set.took(*next);
    for (std::size_t port = 0; port < ports.size(); ++port) {
      if (next->port == ports[port]) order.push_back(static_cast<int>(port));
    }
  }
  return order;
}

using Turns = std::vector<int>;

}  // namespace

TEST_SUITE("ConsumerSet") {
  TEST_CASE("an empty set has nobody to ask") {
    ConsumerSet set;
    CHECK(set.next() == nullptr);
    CHECK(set.count() == 0);
    CHECK_FALSE(set.has_exclusive());
  }

  TEST_CASE("equals take turns in the order in which they came") {
    ConsumerSet set;
    FakeConsumer a, b, c;
    const std::vector<FakeConsumer*> ports{&a, &b, &c};
    for (FakeConsumer* port : ports)
      set.add(*port, {});
    CHECK(turns(set, ports, 7) == Turns{0, 1, 2, 0, 1, 2, 0});
  }

  TEST_CASE("asking who is next changes nothing while that one can take") {
    ConsumerSet set;
    FakeConsumer a, b;
    const QueueConsumer* first = &set.add(a, {});
    set.add(b, {});
    CHECK(set.next() == first);
    CHECK(set.next() == first);
  }

  TEST_CASE("a lower priority gets something only while no higher one can take") {
    ConsumerSet set;
    FakeConsumer low, high, negative;
    const std::vector<FakeConsumer*> ports{&low, &high, &negative};
    set.add(low, {});
    QueueConsumer& on_top = set.add(high, with_priority(10, 2));
    set.add(negative, with_priority(-1));
    CHECK(turns(set, ports, 4) == Turns{1, 1, 0, 0});
    set.settled(on_top);
    CHECK(turns(set, ports, 2) == Turns{1, 0});
    low.open = false;
    CHECK(turns(set, ports, 2) == Turns{2, 2});
  }

  TEST_CASE("one that could not take is asked again only after resume, at the end of its level") {
    ConsumerSet set;
    FakeConsumer a, b, c;
    const std::vector<FakeConsumer*> ports{&a, &b, &c};
    QueueConsumer& first = set.add(a, {});
    set.add(b, {});
    set.add(c, {});
    a.open = false;
    CHECK(turns(set, ports, 2) == Turns{1, 2});
    a.open = true;
    CHECK(turns(set, ports, 2) == Turns{1, 2});
    set.resume(first);
    set.resume(first);  // twice is once
    CHECK(turns(set, ports, 4) == Turns{1, 2, 0, 1});
  }

  TEST_CASE("a settlement frees a consumer at its prefetch limit, resume does not") {
    ConsumerSet set;
    FakeConsumer a;
    QueueConsumer& consumer = set.add(a, with_prefetch(1));
    CHECK(turns(set, {&a}, 2) == Turns{0, -1});
    set.resume(consumer);
    CHECK(set.next() == nullptr);
    set.settled(consumer);
    CHECK(turns(set, {&a}, 2) == Turns{0, -1});
  }

  TEST_CASE("a cancelled consumer gets no turn and counts no more") {
    ConsumerSet set;
    FakeConsumer a, b;
    const std::vector<FakeConsumer*> ports{&a, &b};
    QueueConsumer& first = set.add(a, {});
    set.add(b, {});
    set.cancel(first);
    CHECK(set.count() == 1);
    CHECK(turns(set, ports, 2) == Turns{1, 1});
  }

  TEST_CASE("the record of a cancelled consumer stays until its last delivery is settled") {
    ConsumerSet set;
    FakeConsumer a;
    QueueConsumer& consumer = set.add(a, {});
    CHECK(turns(set, {&a}, 2) == Turns{0, 0});
    set.cancel(consumer);
    CHECK(set.next() == nullptr);
    set.settled(consumer);
    CHECK(consumer.unacked == 1);
    CHECK(set.next() == nullptr);
    set.settled(consumer);  // frees it; the sanitizers watch
    CHECK(set.next() == nullptr);
  }

  TEST_CASE("the cancelled are not among all") {
    ConsumerSet set;
    FakeConsumer a, b;
    QueueConsumer& first = set.add(a, {});
    QueueConsumer& second = set.add(b, {});
    CHECK(turns(set, {&a, &b}, 1) == Turns{0});
    set.cancel(first);  // its delivery keeps the record
    CHECK(set.all() == std::vector<QueueConsumer*>{&second});
  }

  TEST_CASE("exclusiveness ends with the consumer that asked for it") {
    ConsumerSet set;
    FakeConsumer a;
    QueueConsumer& consumer = set.add(a, exclusive());
    CHECK(set.has_exclusive());
    CHECK(turns(set, {&a}, 1) == Turns{0});
    set.cancel(consumer);  // with a delivery outstanding
    CHECK_FALSE(set.has_exclusive());
  }
}
