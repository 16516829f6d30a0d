#include "broker/runtime/queue_timers.h"

#include <doctest/doctest.h>

using namespace harrier;

namespace {

Timestamp at(int milliseconds) {
  return Timestamp(Milliseconds(milliseconds));
}

}  // namespace

TEST_SUITE("QueueTimers") {
  TEST_CASE("queues come in the order of their times, none before its own") {
    QueueTimers timers;
    CHECK_FALSE(timers.next());
    timers.add(QueueId{1}, at(30));
    timers.add(QueueId{2}, at(10));
    timers.add(QueueId{3}, at(10));
    CHECK(timers.next() == at(10));
    CHECK_FALSE(timers.take_due(at(9)));
    CHECK(timers.take_due(at(30)) == QueueId{2});
    CHECK(timers.take_due(at(30)) == QueueId{3});
    CHECK(timers.take_due(at(30)) == QueueId{1});
    CHECK_FALSE(timers.next());
  }

  TEST_CASE("a queue has one time, the earliest it asked for") {
    QueueTimers timers;
    for (const int time : {1000, 500, 700, 20})
      timers.add(QueueId{1}, at(time));
    CHECK(timers.take_due(at(2000)) == QueueId{1});
    CHECK_FALSE(timers.next());
  }

  TEST_CASE("a queue that is gone is not woken") {
    QueueTimers timers;
    timers.add(QueueId{1}, at(10));
    timers.add(QueueId{2}, at(20));
    timers.remove(QueueId{1});
    timers.remove(QueueId{3});
    CHECK(timers.next() == at(20));
  }
}
