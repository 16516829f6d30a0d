#include "base/join.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace harrier;

TEST_SUITE("Join") {
  TEST_CASE("without shares the task runs when the Join goes") {
    int runs = 0;
    {
      const Join join([&runs] { ++runs; });
      CHECK(runs == 0);
    }
    CHECK(runs == 1);
  }

  TEST_CASE("the task waits for every share and for the Join, whichever is last") {
    int runs = 0;
    auto join = std::make_optional<Join>([&runs] { ++runs; });
    std::vector<Task> shares;
    for (int i = 0; i < 3; ++i)
      shares.push_back(join->share());

    SUBCASE("a share is last") {
      join.reset();
      shares[2]();
      shares[0]();
      CHECK(runs == 0);
      shares[1]();
    }
    SUBCASE("the Join is last") {
      for (Task& share : shares)
        share();
      CHECK(runs == 0);
      join.reset();
    }
    SUBCASE("shares used before all are handed out end nothing") {
      for (Task& share : shares)
        share();
      Task late = join->share();
      late();
      CHECK(runs == 0);
      join.reset();
    }
    CHECK(runs == 1);
    shares.clear();
    CHECK(runs == 1);
  }

  TEST_CASE("a dropped share drops the task unrun, with what it holds") {
    int runs = 0;
    auto held = std::make_shared<int>(1);
    const std::weak_ptr<int> watched = held;
    {
      Join join([&runs, held = std::move(held)] { ++runs; });
      Task kept = join.share();
      { const Task dropped = join.share(); }
      kept();
    }
    CHECK(runs == 0);
    CHECK(watched.expired());
  }

  TEST_CASE("the task may start the next Join and may end the last share's owner") {
    int outer = 0;
    int inner = 0;
    auto shares = std::make_unique<std::vector<Task>>();
    {
      Join join([&] {
        ++outer;
        const Join next([&inner] { ++inner; });
      });
      shares->push_back(join.share());
    }
    Task last = std::move(shares->front());
    shares.reset();
    last();
    CHECK(outer == 1);
    CHECK(inner == 1);
  }
}
