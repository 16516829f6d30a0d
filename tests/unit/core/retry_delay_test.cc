#include "broker/core/retry_delay.h"

#include <vector>

#include <doctest/doctest.h>

using namespace harrier;

namespace {

RetrySettings linear(std::int64_t min, std::int64_t max) {
  RetrySettings retry;
  retry.type = RetryType::all;
  retry.min = Milliseconds(min);
  retry.max = Milliseconds(max);
  return retry;
}

std::vector<std::int64_t> first_delays(const RetrySettings& retry, std::uint32_t count) {
  std::vector<std::int64_t> delays;
  for (std::uint32_t n = 1; n <= count; ++n)
    delays.push_back(retry_delay(retry, n, 0).count());
  return delays;
}

using Delays = std::vector<std::int64_t>;

}  // namespace

TEST_SUITE("retry delay") {
  TEST_CASE("without a multiplier the delay is min times the count, at most max") {
    CHECK(first_delays(linear(100, 250), 4) == Delays{100, 200, 250, 250});
  }

  TEST_CASE("a multiplier of 1 is constant, of 2 exponential, at most max") {
    RetrySettings retry = linear(100, 500);
    retry.multiplier = 1;
    CHECK(first_delays(retry, 3) == Delays{100, 100, 100});
    retry.multiplier = 2;
    CHECK(first_delays(retry, 4) == Delays{100, 200, 400, 500});
    retry.multiplier = 1.5;
    CHECK(first_delays(retry, 3) == Delays{100, 150, 225});
  }

  TEST_CASE("the last entry of a schedule repeats") {
    RetrySettings retry = linear(0, 0);
    retry.schedule = {Milliseconds(10), Milliseconds(0), Milliseconds(70)};
    CHECK(first_delays(retry, 5) == Delays{10, 0, 70, 70, 70});
  }

  TEST_CASE("no count is too large") {
    RetrySettings retry = linear(1000, 315'360'000'000);
    CHECK(retry_delay(retry, UINT32_MAX, 0) == retry.max);
    retry.multiplier = 1000;
    CHECK(retry_delay(retry, UINT32_MAX, 0) == retry.max);
  }

  TEST_CASE("jitter takes off up to its share") {
    RetrySettings retry = linear(1000, 1000);
    retry.jitter_percent = 20;
    CHECK(retry_delay(retry, 1, 0) == Milliseconds(1000));
    CHECK(retry_delay(retry, 1, 0.5) == Milliseconds(900));
    CHECK(retry_delay(retry, 1, 1) == Milliseconds(800));
    retry.jitter_percent = 100;
    CHECK(retry_delay(retry, 1, 1) == Milliseconds(0));
  }

  TEST_CASE("the type says which returns wait") {
    using enum Settlement;
    for (const Settlement how : {requeue, failed, lost, unseen}) {
      CAPTURE(static_cast<int>(how));
      CHECK_FALSE(is_retried_later(RetryType::disabled, how));
      CHECK(is_retried_later(RetryType::all, how) == (how != unseen));
      CHECK(is_retried_later(RetryType::failed, how) == (how == failed || how == lost));
      CHECK(is_retried_later(RetryType::returned, how) == (how == requeue));
    }
  }
}
