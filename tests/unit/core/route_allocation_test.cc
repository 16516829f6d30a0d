#include <cstdlib>
#include <new>

#include <doctest/doctest.h>

#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

std::size_t allocations = 0;

}  // namespace

// Counts every allocation of this binary.
void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size);
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

TEST_SUITE("routing") {
  TEST_CASE("allocates nothing once its lists have their size") {
    Broker broker;
    broker.declare(a_queue("q1"));
    broker.declare(a_queue("q2"));
    broker.declare(
        an_exchange("x", "direct", table({{"alternate-exchange", text("amq.headers")}})));
    broker.bind(to_queue("x", "q1", "a.b.c"));
    broker.bind(to_exchange("x", "amq.topic", "a.b.c"));
    broker.bind(to_queue("amq.topic", "q2", "a.*.#"));
    broker.bind(to_exchange("amq.topic", "amq.fanout", "#.c"));
    broker.bind(to_queue("amq.fanout", "q1"));
    broker.bind(to_queue(
        "amq.headers", "q1", "",
        table({{"format", text("a text too long for the string itself")}, {"size", number(5)}})));
    const Headers headers(table(
        {{"format", text("a text too long for the string itself")}, {"size", Value::int64(5)}}));
    const std::string_view keys[] = {"a.b.c", "a.b.d"};
    const std::string_view unrouted[] = {"another key too long for the string itself"};
    const auto route_both = [&] {
      Exchange& source = *broker.vhost.find_exchange("x");
      broker.vhost.route(source, {keys, headers.view()}, broker.routed);
      const std::size_t by_key = broker.routed.size();
      broker.vhost.route(source, {unrouted, headers.view()}, broker.routed);
      return by_key * 10 + broker.routed.size();
    };
    REQUIRE(route_both() == 21);
    const std::size_t before = allocations;
    for (int i = 0; i < 100; ++i)
      route_both();
    CHECK(allocations == before);
  }
}
