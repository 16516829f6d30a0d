// The RocksDB store against the memory store: the same random batches, restarts and kills, the same
// content. HARRIER_SEED=n repeats a run, HARRIER_ROUNDS=n makes it longer.
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>

#include <doctest/doctest.h>
#include <fmt/core.h>

#include "base/assert.h"
#include "storage/memory_store.h"
#include "workload.h"

namespace harrier {

namespace {

using test::Content;
using test::Durability;
using test::TempDir;
using test::Workload;

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::uint64_t choose_seed() {
  const std::uint64_t seed = number_from_environment("HARRIER_SEED", std::random_device{}());
  fmt::print("HARRIER_SEED={}\n", seed);
  return seed;
}

// The memory store may know sequences whose entries vanished before they were written.
void check_same(const Content& stored, const Content& model) {
  CHECK(stored.ascending);
  CHECK(stored.records == model.records);
  CHECK(stored.entries.size() == model.entries.size());
  for (const auto& expected : model.entries) {
    CAPTURE(expected.first.first);
    CAPTURE(expected.first.second);
    auto found = stored.entries.find(expected.first);
    REQUIRE(found != stored.entries.end());
    CHECK(found->second == expected.second);
  }
  for (const auto& expected : model.next_seq) {
    CAPTURE(expected.first);
    CHECK(stored.next_seq.at(expected.first) <= expected.second);
  }
  for (const auto& [place, entry] : stored.entries) {
    CHECK(place.second >= stored.first_seq.at(place.first));
    CHECK(place.second < stored.next_seq.at(place.first));
  }
  for (const auto& counted : stored.tally) {
    CAPTURE(counted.first);
    const Tally scanned = stored.counted(counted.first);
    CHECK(counted.second.entries == scanned.entries);
    CHECK(counted.second.bytes == scanned.bytes);
    CHECK(counted.second == model.tally.at(counted.first));
  }
}

void check_same_page(const PageRequest& request, Store& store, Store& model) {
  CAPTURE(request.lane.value);
  CAPTURE(request.from);
  CAPTURE(request.end);
  CAPTURE(request.bytes_max);
  const LanePage stored = test::read_page(store, request);
  const LanePage expected = test::read_page(model, request);
  CHECK_FALSE(stored.damage.has_value());
  CHECK(stored.next == expected.next);
  REQUIRE(test::sequences_in(stored) == test::sequences_in(expected));
  for (std::size_t i = 0; i < stored.entries.size(); ++i) {
    CHECK(Content::entry(stored.entries[i]) == Content::entry(expected.entries[i]));
  }
}

}  // namespace

TEST_SUITE("store model") {
  TEST_CASE("restarts, clean or not, bring back what the model has") {
    const std::uint64_t seed = choose_seed();
    CAPTURE(seed);
    const TempDir temp;
    std::mt19937_64 random(seed);
    MemoryStore model;
    Content start;
    std::vector<LaneId> live;
    std::uint32_t next_lane = 1;
    const std::uint64_t rounds = number_from_environment("HARRIER_ROUNDS", 12);
    for (std::uint64_t round = 0; round < rounds; ++round) {
      CAPTURE(round);
      Durability durability;
      auto store = test::open_store(test::small_epochs(temp.path()));
      const Content stored = test::read_all(*store, live);
      check_same(stored, test::read_all(model, live));

      const SubmitterId submitter = store->add_submitter(durability.listener());
      const SubmitterId shadow = model.add_submitter({});
      Workload workload(random(), stored, next_lane);
      Ticket last = 0;
      for (std::uint64_t number = 1 + random() % 400; number > 0; --number) {
        StoreBatch batch = workload.next();
        StoreBatch copy = batch;
        last = store->submit(submitter, batch);
        model.submit(shadow, copy);
        if (random() % 8 == 0) check_same_page(workload.page(), *store, model);
      }
      live = workload.lanes();
      next_lane = workload.next_lane();
      if (random() % 2 == 0) {
        store->stop();
        model.stop();
      } else {
        durability.await(last);
      }
      REQUIRE(durability.durable() == last);
      store.reset();
      model.reopen();
    }
  }

  TEST_CASE("a killed process loses nothing that was durable, and only a suffix of the rest") {
    const std::uint64_t seed = choose_seed();
    CAPTURE(seed);
    const TempDir temp;
    std::mt19937_64 random(seed);
    MemoryStore model;
    std::vector<LaneId> live;
    std::uint32_t next_lane = 1;
    std::uint64_t confirmed = 0;
    const std::uint64_t rounds = number_from_environment("HARRIER_ROUNDS", 12);
    for (std::uint64_t round = 0; round < rounds; ++round) {
      CAPTURE(round);
      Content start;
      {
        auto store = test::open_store(test::small_epochs(temp.path()));
        start = test::read_all(*store, live);
      }
      const std::uint64_t child_seed = random() % 1'000'000'000;
      std::string command =
          fmt::format("{} {} {} {}", STORE_CRASH_CHILD, temp.path(), child_seed, next_lane);
      for (const LaneId lane : live)
        command += fmt::format(" {}", lane.value);
      FILE* output = ::popen(command.c_str(), "r");
      REQUIRE(output != nullptr);
      std::uint64_t durable = 0;
      for (char line[64]; std::fgets(line, sizeof(line), output) != nullptr;) {
        durable = std::strtoull(line, nullptr, 10);
      }
      // The shell reports the signal of its child as 128 + number, or passes it on.
      const int status = ::pclose(output);
      REQUIRE((WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) - 128) == 9);
      confirmed += durable;

      // Repeats in the model as many batches as the store has.
      auto store = test::open_store(test::small_epochs(temp.path()));
      Content records;
      REQUIRE(store->scan_records("progress", [&](std::string_view key, std::string_view value) {
        records.records.emplace(key, value);
      }));
      const std::uint64_t written = test::progress_of(records) - test::progress_of(start);
      CHECK(written >= durable);
      const SubmitterId shadow = model.add_submitter({});
      Workload workload(child_seed, start, next_lane);
      for (std::uint64_t left = written; left > 0; --left) {
        StoreBatch batch = workload.next();
        model.submit(shadow, batch);
      }
      live = workload.lanes();
      next_lane = workload.next_lane();
      model.reopen();
      check_same(test::read_all(*store, live), test::read_all(model, live));
      // The lanes that the child used beyond what it had written are nobody's now.
      store.reset();
    }
    MESSAGE(confirmed << " batches confirmed over " << rounds << " kills");
  }
}

}  // namespace harrier
