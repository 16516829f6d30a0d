// Cuts the power under a store again and again, at any moment, and looks whether everything that
// was announced durable is there, in order, and nothing else.
//
//   power_cut [--rounds N] [--seed N] [--seconds N] [--lie] [--accept-data-loss]
//             [--full-every N] [--damage-manifest]
//
// The disk runs full in one life of N, for 0 never.
//
// Ends with 0 if no cut lost anything. With --lie syncs do nothing, and it ends with 0 only if that
// is found out: the store's guard or the judge here says that something is lost, with
// --accept-data-loss the judge. Any other complaint is none: then it goes on with the next seed.
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
  std::uint64_t large_bodies = 0;
};

enum class Outcome {
  well,
  lost,  // what was announced, and somebody has said so
  wrong  // anything else
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

// The refusal of a start on a store that lost what it had synced (storage/log_guard.cc).
bool refuses_for_loss(const StoreError& error) {
  return error.kind == StoreError::Kind::corruption &&
         error.detail.find("which had been synced, are lost") != std::string::npos;
}

Outcome judge(const Result<std::vector<std::string>, StoreError>& wrong, const std::string& lost) {
  if (wrong && wrong->empty()) return Outcome::well;
  fmt::print("after\n{}", lost);
  if (!wrong) {
    fmt::print("the store does not open: {}\n", wrong.error().detail);
    return refuses_for_loss(wrong.error()) ? Outcome::lost : Outcome::wrong;
  }
  for (const std::string& line : *wrong)
    fmt::print("{}\n", line);
  return tells_of_loss(*wrong) ? Outcome::lost : Outcome::wrong;
}

// Opens the store, in spite of cuts meanwhile.
Outcome open(FaultRun& run, Figures& figures, std::string& lost) {
  for (;;) {
    if (run.below(4) == 0) {
      run.disk().cut_at({.suffix = {}, .creations = 0, .operations = run.below(60)});
    }
    const Outcome outcome = judge(run.open(), lost);
    if (outcome != Outcome::well || !run.disk().frozen()) return outcome;
    lost += " and in recovery\n" + run.cut_power();
    ++figures.cuts;
    ++figures.cuts_in_recovery;
  }
}

Outcome cut_again_and_again(std::uint64_t seed, std::uint64_t cuts, const Options& options,
                            Figures& figures) {
  FaultRun run(seed);
  run.style = options.style;
  run.accepts_data_loss = options.accepts_data_loss;
  if (options.lies) run.disk().lie_about_syncs();
  std::string lost;
  Outcome outcome = open(run, figures, lost);
  for (const std::uint64_t end = figures.cuts + cuts; outcome == Outcome::well;) {
    if (figures.cuts >= end) break;
    lost.clear();
    live(run, options, figures);
    if (run.failed()) {
      fmt::print("the store failed without a reason: {}\n{}", run.failure(), run.files());
      outcome = Outcome::wrong;
      break;
    }
    if (run.below(10) == 0) {
      run.kill_process();
      ++figures.kills;
      lost += " the process was killed\n";
    } else {
      lost += run.cut_power();
      ++figures.cuts;
    }
    outcome = open(run, figures, lost);
  }
  figures.batches += run.workload().submitted();
  figures.confirmed += run.workload().confirmed();
  figures.large_bodies += run.workload().large_found();
  return outcome;
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
  Outcome outcome = Outcome::well;
  std::uint64_t seed = options.seed;
  const auto goes_on = [&] {
    return outcome == Outcome::well || (options.lies && outcome == Outcome::wrong);
  };
  for (; goes_on() && figures.cuts < options.rounds; ++seed) {
    if (elapsed() > static_cast<double>(options.seconds)) break;
    const std::uint64_t cuts = std::min(kCutsPerRun, options.rounds - figures.cuts);
    outcome = cut_again_and_again(seed, cuts, options, figures);
    if (outcome != Outcome::well) {
      fmt::print("seed {} found it: power_cut --seed {} --rounds {}{}{}\n", seed, seed, kCutsPerRun,
                 options.lies ? " --lie" : "",
                 options.accepts_data_loss ? " --accept-data-loss" : "");
    }
  }
  fmt::print(
      "{} cuts ({} in recovery), {} kills, {} stops, {} full disks, {} batches, {} announced and "
      "found, {} large bodies found, seeds {} to {}, {:.1f} s\n",
      figures.cuts, figures.cuts_in_recovery, figures.kills, figures.stops, figures.full_disks,
      figures.batches, figures.confirmed, figures.large_bodies, options.seed, seed - 1, elapsed());
  if (options.lies) {
    const bool found_out = outcome == Outcome::lost;
    fmt::print("{}\n", found_out ? "as it should be" : "nobody said that anything is lost");
    return found_out ? 0 : 1;
  }
  return outcome == Outcome::well ? 0 : 1;
}
