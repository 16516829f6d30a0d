#include "base/clock.h"

#include <doctest/doctest.h>

using namespace harrier;

TEST_SUITE("ManualClock") {
  TEST_CASE("time stands still until a test moves it") {
    const Timestamp start(Milliseconds(5));
    ManualClock clock(start);
    const Clock& read = clock;
    CHECK(read.now() == start);
    CHECK(read.now() == start);
    clock.advance(Milliseconds(7));
    clock.advance(Milliseconds(0));
    CHECK(read.now() == Timestamp(Milliseconds(12)));
  }

  TEST_CASE("the default start is no special time") {
    CHECK(ManualClock().now() > Timestamp{});
  }
}

TEST_SUITE("SystemClock") {
  TEST_CASE("time never runs backwards and is near wall time") {
    const SystemClock clock;
    const auto wall = std::chrono::system_clock::now();
    const Timestamp first = clock.now();
    CHECK(first + Milliseconds(1000) > wall);
    CHECK(first < wall + Milliseconds(60'000));
    CHECK(clock.now() >= first);
  }
}
