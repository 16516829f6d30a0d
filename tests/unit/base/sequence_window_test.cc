#include "base/sequence_window.h"

#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <utility>

#include <doctest/doctest.h>

using namespace harrier;

namespace {

// A value that counts the slots there are: memory as a test can see it.
struct Slot {
  Slot() { ++slots; }

  explicit Slot(int held) : value(std::make_unique<int>(held)) { ++slots; }

  Slot(Slot&& other) noexcept : value(std::move(other.value)) { ++slots; }

  Slot& operator=(Slot&& other) noexcept = default;

  ~Slot() { --slots; }

  std::unique_ptr<int> value;
  static inline std::int64_t slots = 0;
};

constexpr std::size_t kChunk = 8;
using Window = SequenceWindow<Slot, kChunk>;

std::int64_t chunks_in_memory() {
  return Slot::slots / static_cast<std::int64_t>(kChunk);
}

unsigned random_seed() {
  const char* wanted = std::getenv("HARRIER_SEED");
  const unsigned seed = wanted == nullptr
                            ? std::random_device()()
                            : static_cast<unsigned>(std::strtoul(wanted, nullptr, 10));
  MESSAGE("HARRIER_SEED=", seed);
  return seed;
}

// The window as a map: unfinished numbers and the next one.
struct Model {
  std::map<std::uint64_t, int> unfinished;
  std::uint64_t end;

  std::uint64_t begin() const { return unfinished.empty() ? end : unfinished.begin()->first; }

  std::uint64_t next_unfinished(std::uint64_t number) const {
    const auto found = unfinished.lower_bound(number);
    return found == unfinished.end() ? end : found->first;
  }
};

void check_same(Window& window, const Model& model) {
  REQUIRE(window.begin() == model.begin());
  REQUIRE(window.end() == model.end);
  REQUIRE(window.unfinished() == model.unfinished.size());
  REQUIRE(window.empty() == model.unfinished.empty());
}

}  // namespace

TEST_SUITE("SequenceWindow") {
  TEST_CASE("numbers ascend from the first one") {
    SequenceWindow<int> window(41);
    CHECK(window.empty());
    CHECK(window.begin() == 41);
    CHECK(window.end() == 41);
    CHECK(window.push(7) == 41);
    CHECK(window.push(8) == 42);
    CHECK(*window.find(42) == 8);
    CHECK(window.find(40) == nullptr);
    CHECK(window.find(43) == nullptr);
    CHECK(window.find(0) == nullptr);
    CHECK(window.find(UINT64_MAX) == nullptr);
  }

  TEST_CASE("a finished slot is gone at once, whatever the order") {
    Slot::slots = 0;
    Window window;
    for (int i = 0; i < 20; ++i)
      window.push(Slot(i));
    window.finish(7);
    CHECK(window.find(7) == nullptr);
    CHECK(window.begin() == 1);
    window.finish(1);
    CHECK(window.begin() == 2);
    for (std::uint64_t number : {3u, 4u, 5u, 6u})
      window.finish(number);
    window.finish(2);
    CHECK(window.begin() == 8);
    CHECK(window.unfinished() == 13);
    CHECK(*window.find(8)->value == 7);
  }

  TEST_CASE("what a finished slot held is let go of at once") {
    SequenceWindow<std::shared_ptr<int>, 4> window;
    const auto held = std::make_shared<int>(1);
    window.push(held);
    window.push(held);
    CHECK(held.use_count() == 3);
    window.finish(2);
    CHECK(held.use_count() == 2);
    window.finish(1);
    CHECK(held.use_count() == 1);
  }

  TEST_CASE("numbers skipped count as finished") {
    for (const std::uint64_t to : {1u, 2u, 8u, 9u, 16u, 17u, 100u, 1000u}) {
      CAPTURE(to);
      Window empty;
      empty.skip_to(to);
      CHECK(empty.begin() == to);
      CHECK(empty.push(Slot(1)) == to);
      CHECK(empty.begin() == to);

      Window holding;
      holding.push(Slot(1));
      holding.skip_to(to + 1);
      CHECK(holding.begin() == 1);
      CHECK(holding.end() == to + 1);
      CHECK(holding.unfinished() == 1);
      CHECK(holding.push(Slot(2)) == to + 1);
      CHECK(holding.next_unfinished(2) == to + 1);
      for (std::uint64_t number = 2; number <= to; ++number) {
        CHECK(holding.find(number) == nullptr);
      }
      holding.finish(1);
      CHECK(holding.begin() == to + 1);
    }
  }

  TEST_CASE("skipping over a gap of millions costs no chunks") {
    Slot::slots = 0;
    Window window;
    window.push(Slot(1));
    window.skip_to(8'000'001);
    window.push(Slot(2));
    CHECK(chunks_in_memory() <= 3);
    window.finish(1);
    CHECK(window.begin() == 8'000'001);
  }

  TEST_CASE("a steady flow reuses its chunk") {
    Slot::slots = 0;
    Window window;
    for (int i = 0; i < 10'000; ++i) {
      window.finish(window.push(Slot(i)));
      REQUIRE(chunks_in_memory() <= 2);
    }
    CHECK(window.begin() == 10'001);
  }

  TEST_CASE("one straggler under a million finished numbers holds one chunk") {
    Slot::slots = 0;
    Window window;
    const std::uint64_t straggler = window.push(Slot(-1));
    for (int i = 0; i < 1'000'000; ++i)
      window.finish(window.push(Slot(i)));
    CHECK(window.unfinished() == 1);
    CHECK(window.begin() == straggler);
    CHECK(chunks_in_memory() <= 3);  // the straggler's, the one being filled, the spare one
    CHECK(*window.find(straggler)->value == -1);
    CHECK(window.next_unfinished(straggler + 1) == window.end());
    window.finish(straggler);
    CHECK(window.begin() == window.end());
    CHECK(window.push(Slot(1)) == 1'000'002);
  }

  TEST_CASE("the window agrees with a plain map under random use") {
    const unsigned seed = random_seed();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&random](std::uint64_t limit) { return random() % limit; };
    for (int round = 0; round < 40; ++round) {
      Slot::slots = 0;
      const std::uint64_t first = below(3 * kChunk);
      Window window(first);
      Model model{{}, first};
      // Rounds differ in how full the window is kept.
      const std::uint64_t pushes = 20 + below(60);
      for (int step = 0; step < 2000; ++step) {
        const std::uint64_t dice = below(100);
        if (dice < pushes || model.unfinished.empty()) {
          const int value = static_cast<int>(random() >> 1);
          REQUIRE(window.push(Slot(value)) == model.end);
          model.unfinished.emplace(model.end++, value);
        } else if (dice < 97) {
          // The oldest as often as any other.
          auto victim = model.unfinished.begin();
          if (below(2) == 0) std::advance(victim, below(model.unfinished.size()));
          REQUIRE(*window.find(victim->first)->value == victim->second);
          window.finish(victim->first);
          REQUIRE(window.find(victim->first) == nullptr);
          model.unfinished.erase(victim);
        } else {
          model.end += below(4 * kChunk);
          window.skip_to(model.end);
        }
        check_same(window, model);
        const std::uint64_t probe = first + below(model.end - first + 2);
        const auto held = model.unfinished.find(probe);
        Slot* found = window.find(probe);
        REQUIRE((found != nullptr) == (held != model.unfinished.end()));
        if (found != nullptr) REQUIRE(*found->value == held->second);
        REQUIRE(window.next_unfinished(probe) == model.next_unfinished(probe));
        // Every chunk in memory holds something, is being filled, or is the spare one.
        REQUIRE(chunks_in_memory() <= static_cast<std::int64_t>(model.unfinished.size()) + 2);
      }
    }
  }
}
