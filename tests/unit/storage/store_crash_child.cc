// Works on a store until it kills itself: the victim of store_model_test.
//
//   store_crash_child <data_dir> <seed> <first_lane> <lane>...
//
// Prints a line with the number of each batch that became durable.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <fmt/core.h>

#include "storage/rocks_store.h"
#include "workload.h"

int main(int argc, char** argv) {
  using namespace harrier;
  if (argc < 4) return 2;
  const std::uint64_t seed = std::strtoull(argv[2], nullptr, 10);
  std::vector<LaneId> live;
  for (int i = 4; i < argc; ++i) {
    live.push_back(LaneId{static_cast<std::uint32_t>(std::strtoul(argv[i], nullptr, 10))});
  }
  const auto store = test::open_store(test::small_epochs(argv[1]));
  const test::Content start = test::read_all(*store, live);
  test::Workload workload(seed, start,
                          static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10)));
  const SubmitterId submitter =
      store->add_submitter({.on_durable =
                                [](Ticket ticket) {
                                  const std::string line = fmt::format("{}\n", ticket);
                                  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0)
                                    std::abort();
                                },
                            .on_failure = [](const StoreError&) { std::abort(); }});
  std::mt19937_64 fate(seed);
  const std::uint64_t lifetime = 1 + fate() % 600;
  for (std::uint64_t number = 1; number <= lifetime; ++number) {
    StoreBatch batch = workload.next();
    store->submit(submitter, batch);
    // Lets the committer make commits of all sizes.
    if (fate() % 8 == 0) ::usleep(static_cast<useconds_t>(fate() % 2000));
  }
  ::raise(SIGKILL);
  return 1;
}
