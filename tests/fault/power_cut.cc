// Cuts the power under a store again and again, at any moment, and looks whether everything that
// was announced durable is there, in order, and nothing else.
//
//   power_cut [--rounds N] [--seed N] [--seconds N] [--lie] [--accept-data-loss]
//             [--full-every N] [--damage-manifest]
//
// The disk runs full in one life of N, for 0 never.
//
// Ends with 0 if no cut lost anything. With --lie syncs do nothing, and it ends with 0 only if that
// is found out: neither the store's guard nor, with --accept-data-loss, the judge here is blind.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "base/log.h"
#include "fault_run.h"

namespace {

using namespace harrier;
using namespace harrier::test;

constexpr std::uint64_t kCutsPerRun = 100;  // then a new directory

struct Options {
  std::uint64_t rounds = 2000;
  std::uint64_t seconds = UINT64_MAX / 2;  // no round begins later
  std::uint64_t seed = std::random_device{}();
  bool lies = false;
  bool accepts_data_loss = false;
  std::uint64_t full_every = 25;
  CutStyle style;
};

struct Figures {
  std::uint64_t cuts = 0;
  std::uint64_t cuts_in_recovery = 0;
  std::uint64_t kills = 0;
  std::uint64_t stops = 0;
  std::uint64_t full_disks = 0;
  std::uint64_t batches = 0;
  std::uint64_t confirmed = 0;
};

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--lie") {
      options.lies = true;
    } else if (name == "--accept-data-loss") {
      options.accepts_data_loss = true;
    } else if (name == "--damage-manifest") {
      options.style.damages_manifest = true;
    } else if (i + 1 < argc && name == "--rounds") {
      options.rounds = std::strtoull(argv[++i], nullptr, 10);
    } else if (i + 1 < argc && name == "--full-every") {
      options.full_every = std::strtoull(argv[++i], nullptr, 10);
    } else if (i + 1 < argc && name == "--seconds") {
      options.seconds = std::strtoull(argv[++i], nullptr, 10);
    } else if (i + 1 < argc && name == "--seed") {
      options.seed = std::strtoull(argv[++i], nullptr, 10);
    } else {
      return false;
    }
  }
  return true;
}

// Often soon after a new log or table file, when RocksDB is between two states.
PowerCut choose_cut(FaultRun& run) {
  switch (run.below(4)) {
    case 0:
      return {.suffix = ".log", .creations = 1 + run.below(4), .operations = run.below(12)};
    case 1:
      return {.suffix = ".sst", .creations = 1 + run.below(12), .operations = run.below(12)};
    default:
      return {.suffix = {}, .creations = 0, .operations = run.below(600)};
  }
}

// Works on the open store until the power fails or, rarely, until it was stopped.
void live(FaultRun& run, const Options& options, Figures& figures) {
  run.disk().slow_syncs(std::chrono::microseconds(run.below(3) == 0 ? 2000 : 0));
  run.disk().cut_at(choose_cut(run));
  constexpr std::uint64_t kPatience[] = {0, 1, 4, 20};
  run.submit(20 + run.below(300), kPatience[run.below(4)]);
  if (options.full_every > 0 && run.below(options.full_every) == 0) {
    run.disk().limit_space(run.below(100'000));
    run.submit(100, 4);
    run.disk().limit_space({});
    run.await_space();
    run.submit(run.below(100), 4);
    ++figures.full_disks;
  }
  if (run.below(8) != 0) return;
  run.stop();
  ++figures.stops;
}

// Opens the store, in spite of cuts meanwhile. False if something is wrong.
bool open(FaultRun& run, Figures& figures, std::string& lost) {
  for (;;) {
    if (run.below(4) == 0) {
      run.disk().cut_at({.suffix = {}, .creations = 0, .operations = run.below(60)});
    }
    const auto wrong = run.open();
    if (!wrong || !wrong->empty()) {
      fmt::print("after\n{}", lost);
      if (!wrong) fmt::print("the store does not open: {}\n", wrong.error().detail);
      if (wrong) {
        for (const std::string& line : *wrong)
          fmt::print("{}\n", line);
      }
      return false;
    }
    if (!run.disk().frozen()) return true;
    lost += " and in recovery\n" + run.cut_power();
    ++figures.cuts;
    ++figures.cuts_in_recovery;
  }
}

bool cut_again_and_again(std::uint64_t seed, std::uint64_t cuts, const Options& options,
                         Figures& figures) {
  FaultRun run(seed);
  run.style = options.style;
  run.accepts_data_loss = options.accepts_data_loss;
  if (options.lies) run.disk().lie_about_syncs();
  std::string lost;
  bool is_well = true;
  for (std::uint64_t end = figures.cuts + cuts; is_well && figures.cuts < end;) {
    is_well = open(run, figures, lost);
    if (!is_well) break;
    lost.clear();
    live(run, options, figures);
    if (run.failed()) {
      fmt::print("the store failed without a reason: {}\n{}", run.failure(), run.files());
      is_well = false;
    }
    if (run.below(10) == 0) {
      run.kill_process();
      ++figures.kills;
      lost += " the process was killed\n";
    } else {
      lost += run.cut_power();
      ++figures.cuts;
    }
  }
  is_well = is_well && open(run, figures, lost);
  figures.batches += run.workload().submitted();
  figures.confirmed += run.workload().confirmed();
  return is_well;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    fmt::print(stderr,
               "usage: power_cut [--rounds N] [--seconds N] [--seed N] [--lie] "
               "[--accept-data-loss] [--full-every N] [--damage-manifest]\n");
    return 2;
  }
  configure_logging({.console_level = LogLevel::none, .file_level = LogLevel::none, .file = {}});
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const auto elapsed = [begin] {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  Figures figures;
  bool is_well = true;
  std::uint64_t seed = options.seed;
  for (; is_well && figures.cuts < options.rounds; ++seed) {
    if (elapsed() > static_cast<double>(options.seconds)) break;
    const std::uint64_t cuts = std::min(kCutsPerRun, options.rounds - figures.cuts);
    is_well = cut_again_and_again(seed, cuts, options, figures);
    if (!is_well) {
      fmt::print("seed {} found it: power_cut --seed {} --rounds {}{}\n", seed, seed, kCutsPerRun,
                 options.lies ? " --lie" : "");
    }
  }
  fmt::print(
      "{} cuts ({} in recovery), {} kills, {} stops, {} full disks, {} batches, {} announced and "
      "found, seeds {} to {}, {:.1f} s\n",
      figures.cuts, figures.cuts_in_recovery, figures.kills, figures.stops, figures.full_disks,
      figures.batches, figures.confirmed, options.seed, seed - 1, elapsed());
  if (options.lies) {
    fmt::print("{}\n", is_well ? "lying syncs were not found out" : "as it should be");
    return is_well ? 1 : 0;
  }
  return is_well ? 0 : 1;
}
