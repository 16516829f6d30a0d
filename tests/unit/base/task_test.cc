#include "base/task.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace harrier;

namespace {

// How many of these live, and how often one was made or moved.
struct Counts {
  int alive = 0;
  int made = 0;
  int moves = 0;
};

// A callable that occupies `kBytes` octets and reports its life.
template <std::size_t kBytes>
class Counted {
 public:
  explicit Counted(Counts& counts) : counts_(counts) { born(); }

  Counted(const Counted& other) : counts_(other.counts_), filler_(other.filler_) { born(); }

  Counted(Counted&& other) noexcept : counts_(other.counts_), filler_(other.filler_) {
    born();
    ++counts_.moves;
  }

  ~Counted() { --counts_.alive; }

  Counted& operator=(const Counted&) = delete;

  int operator()(int x) {
    filler_[0] = static_cast<std::uint8_t>(filler_[0] + 1);  // state survives between calls
    return x * 10 + filler_[0];
  }

 private:
  void born() {
    ++counts_.alive;
    ++counts_.made;
  }

  Counts& counts_;
  std::array<std::uint8_t, kBytes - sizeof(std::uintptr_t)> filler_{};
};

using Call = UniqueFunction<int(int)>;
using Small = Counted<Call::kInlineBytes>;
using Large = Counted<Call::kInlineBytes + 8>;
static_assert(sizeof(Small) == Call::kInlineBytes);
static_assert(sizeof(Large) > Call::kInlineBytes);

// Too strictly aligned to live inside.
struct alignas(64) Aligned {
  int operator()(int x) const { return reinterpret_cast<std::uintptr_t>(this) % 64 == 0 ? x : -1; }
};

// Fits, but a move of it may throw: it must not live inside either.
struct Throwing {
  Throwing() = default;

  Throwing(Throwing&& other) noexcept(false) : words(std::move(other.words)) {}

  int operator()(int x) const { return x + static_cast<int>(words.size()); }

  std::vector<int> words{1, 2, 3};
};

int doubled(int x) {
  return 2 * x;
}

}  // namespace

TEST_SUITE("UniqueFunction") {
  TEST_CASE("an empty one says so and can be destroyed, moved and filled") {
    Call empty;
    CHECK_FALSE(empty);
    Call moved(std::move(empty));
    CHECK_FALSE(moved);
    moved = Call();
    moved.reset();
    CHECK_FALSE(moved);
    moved = Call(doubled);
    REQUIRE(moved);
    CHECK(moved(21) == 42);
  }

  TEST_CASE_TEMPLATE("a capture lives as long as the function that holds it", Callable, Small,
                     Large) {
    Counts counts;
    {
      Call call{Callable(counts)};
      CHECK(counts.alive == 1);
      CHECK(call(1) == 11);
      CHECK(call(1) == 12);

      Call moved(std::move(call));
      CHECK(counts.alive == 1);
      CHECK_FALSE(call);  // NOLINT(bugprone-use-after-move): the contract under test
      CHECK(moved(1) == 13);

      SUBCASE("destroyed at the end of the scope") {}
      SUBCASE("destroyed by reset") {
        moved.reset();
        CHECK_FALSE(moved);
        CHECK(counts.alive == 0);
        moved.reset();
      }
      SUBCASE("destroyed by assigning another") {
        Counts others;
        moved = Call{Callable(others)};
        CHECK(counts.alive == 0);
        CHECK(others.alive == 1);
        CHECK(moved(2) == 21);
        moved = Call();
        CHECK(others.alive == 0);
      }
      SUBCASE("kept when assigned to itself") {
        Call& same = moved;
        moved = std::move(same);
        CHECK(counts.alive == 1);
        CHECK(moved(1) == 14);
      }
    }
    CHECK(counts.alive == 0);
  }

  TEST_CASE("a capture on the heap stays where it is when the function moves") {
    Counts counts;
    Call call{Large(counts)};
    const int moves = counts.moves;
    const int made = counts.made;
    Call second(std::move(call));
    Call third;
    third = std::move(second);
    CHECK(counts.moves == moves);
    CHECK(counts.made == made);
    CHECK(third(0) == 1);
  }

  TEST_CASE("a callable given by name is copied and stays usable") {
    Counts counts;
    Small callable(counts);
    Call call(callable);
    CHECK(counts.alive == 2);
    CHECK(call(1) == 11);
    CHECK(callable(1) == 11);
  }

  TEST_CASE("over-aligned and throwing captures work") {
    Call aligned{Aligned{}};
    Call moved(std::move(aligned));
    CHECK(moved(7) == 7);
    Call throwing{Throwing()};
    Call kept(std::move(throwing));
    CHECK(kept(1) == 4);
  }

  TEST_CASE("move-only captures, arguments and results pass through") {
    UniqueFunction<std::unique_ptr<int>(std::unique_ptr<int>)> add(
        [base = std::make_unique<int>(40)](std::unique_ptr<int> x) {
          *x += *base;
          return x;
        });
    CHECK(*add(std::make_unique<int>(2)) == 42);

    std::string text = "a";
    UniqueFunction<void(std::string&)> append([](std::string& to) { to += "b"; });
    append(text);
    CHECK(text == "ab");
  }

  TEST_CASE("functions move with the vector that holds them") {
    Counts counts;
    std::vector<Call> calls;
    for (int i = 0; i < 20; ++i) {
      if (i % 2 == 0) {
        calls.emplace_back(Small(counts));
      } else {
        calls.emplace_back(Large(counts));
      }
    }
    CHECK(counts.alive == 20);
    int sum = 0;
    for (Call& call : calls)
      sum += call(1);
    CHECK(sum == 20 * 11);
    calls.erase(calls.begin(), calls.begin() + 7);
    CHECK(counts.alive == 13);
    calls.clear();
    CHECK(counts.alive == 0);
  }
}
