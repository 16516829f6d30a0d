// Single faults of the disk under the store: errors, short writes, slow syncs, and cuts at a chosen
// place.
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "fault_run.h"

namespace harrier {

namespace {

using rocksdb::IOStatus;
using test::FaultRun;
using test::FileOperation;

using Complaints = std::vector<std::string>;

constexpr std::uint64_t kSeeds = 12;

// Opens the store of `run`, which must hold what it should.
void open(FaultRun& run) {
  const auto opened = run.open();
  REQUIRE_MESSAGE(opened.has_value(), opened.error().detail);
  CHECK(*opened == Complaints{});
}

// The sequences of all lanes that a store in `path` has, none if it refuses to start.
std::optional<std::vector<Sequence>> sequences_in(const std::string& path, FaultRun& run) {
  StoreConfig config;
  config.data_dir = path;
  const auto store = open_rocks_store(config);
  if (!store) {
    CHECK_MESSAGE(store.error().kind == StoreError::Kind::corruption, store.error().detail);
    return std::nullopt;
  }
  const test::Content content = test::read_all(**store, run.workload().lanes());
  std::vector<Sequence> found;
  for (const LaneId lane : run.workload().lanes()) {
    for (const Sequence seq : content.sequences(lane))
      found.push_back(seq);
  }
  return found;
}

}  // namespace

TEST_SUITE("store on a disk that loses power") {
  TEST_CASE("a backup that was interrupted anywhere is whole or does not start") {
    std::uint64_t refused = 0;
    bool is_interrupted = true;
    for (std::uint64_t operations = 0; is_interrupted; ++operations) {
      CAPTURE(operations);
      FaultRun run(operations);
      open(run);
      run.submit(30, 0);
      run.await_all();
      const std::string copy = run.path() + "/copy";
      run.disk().cut_at({.suffix = {}, .creations = 0, .operations = operations});
      CHECK(run.copy_to(copy).empty());
      is_interrupted = run.disk().frozen();
      if (operations % 2 == 0) {
        run.kill_process();
      } else {
        run.cut_power();
      }
      if (is_interrupted && std::filesystem::is_empty(copy)) continue;  // nobody takes it for one
      const auto found = sequences_in(copy, run);
      if (!found) {
        CHECK(is_interrupted);
        ++refused;
        continue;
      }
      CHECK(found->size() > 10);
      CHECK(found == sequences_in(run.path() + "/data", run));
    }
    CHECK(refused > 10);
  }

  TEST_CASE("what a killed process had not synced keeps later commits when the power fails") {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      CAPTURE(seed);
      FaultRun run(seed);
      open(run);
      run.disk().cut_at({.suffix = {}, .creations = 0, .operations = 5});  // between write and sync
      run.submit(20, 0);
      run.await_all();
      run.kill_process();
      open(run);
      run.submit(20, 0);
      run.await_all();
      run.cut_power();
      open(run);
    }
  }

  TEST_CASE("a disk that syncs slowly delays announcements and changes nothing else") {
    FaultRun run(1);
    run.disk().slow_syncs(std::chrono::milliseconds(20));
    open(run);
    run.submit(300, 20);
    run.await_all();
    CHECK(run.all_announced());
    CHECK_FALSE(run.failed());
    run.cut_power();
    open(run);
  }
}

TEST_SUITE("store on a disk with errors") {
  struct Fault {
    std::string name;
    FileOperation operation;
    std::string file;
    bool is_short;
  };

  TEST_CASE("after an error nothing is announced, the submitters hear of it once") {
    for (const Fault& fault :
         {Fault{"append to the log", FileOperation::append, ".log", false},
          Fault{"short append to the log", FileOperation::append, ".log", true},
          Fault{"sync of the log", FileOperation::sync, ".log", false},
          Fault{"creation of a log", FileOperation::create, ".log", false},
          Fault{"append to a table", FileOperation::append, ".sst", false},
          Fault{"sync of a table", FileOperation::sync, ".sst", false},
          Fault{"creation of a table", FileOperation::create, ".sst", false},
          Fault{"append to the manifest", FileOperation::append, "MANIFEST", false},
          Fault{"sync of the manifest", FileOperation::sync, "MANIFEST", false},
          Fault{"sync of the directory", FileOperation::sync_directory, "db", false}}) {
      CAPTURE(fault.name);
      for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        CAPTURE(seed);
        FaultRun run(seed);
        open(run);
        run.disk().fail_with({.operation = fault.operation,
                              .file = fault.file,
                              .nth = 1 + run.below(3),
                              .error = IOStatus::IOError("an error of the disk"),
                              .is_short = fault.is_short});
        while (!run.failed())
          run.submit(50, 4);
        CHECK(run.disk().failed());
        CHECK_FALSE(run.announced_after_failure());
        run.await_failures();
        run.submit_in_vain(5);
        CHECK(run.failures() == test::FaultWorkload::kSubmitters);
        if (seed == 1) {
          run.kill_process();
        } else {
          run.cut_power();
        }
        open(run);
      }
    }
  }

  TEST_CASE("a store that cannot be mended does not open, and opens when it can") {
    for (const Fault& fault :
         {Fault{"cut of the log", FileOperation::truncate, ".log", false},
          Fault{"sync of the log", FileOperation::sync, ".log", false},
          Fault{"sync of the directory", FileOperation::sync_directory, "db", false}}) {
      CAPTURE(fault.name);
      FaultRun run(5);
      open(run);
      run.disk().fail_with({.operation = FileOperation::append,
                            .file = ".log",
                            .nth = 5,
                            .error = IOStatus::IOError("the first error"),
                            .is_short = true});
      while (!run.failed())
        run.submit(50, 0);
      run.kill_process();  // in the log is half a record, and what was not synced
      run.disk().fail_with({.operation = fault.operation,
                            .file = fault.file,
                            .error = IOStatus::IOError("an error of the disk")});
      const auto opened = run.open();
      CHECK(run.disk().failed());
      REQUIRE_FALSE(opened.has_value());
      CHECK(opened.error().kind == StoreError::Kind::io);
      CHECK(opened.error().detail.find("an error of the disk") != std::string::npos);
      run.kill_process();
      open(run);
    }
  }

  TEST_CASE("a store that cannot be read does not open, and opens when it can") {
    for (const std::string& file :
         std::vector<std::string>{".log", "MANIFEST", ".sst", "CURRENT"}) {
      CAPTURE(file);
      FaultRun run(3);
      open(run);
      run.submit(300, 0);
      run.await_all();
      run.stop();  // writes tables
      run.kill_process();
      open(run);
      run.submit(300, 0);  // and these are in a log
      run.await_all();
      run.cut_power();
      run.disk().fail_with({.operation = FileOperation::read,
                            .file = file,
                            .error = IOStatus::IOError("an error of the disk"),
                            .more = 1'000'000});
      const auto opened = run.open();
      CHECK(run.disk().failed());
      REQUIRE_FALSE(opened.has_value());
      CHECK(opened.error().detail.find("an error of the disk") != std::string::npos);
      run.kill_process();
      open(run);
    }
  }
}

}  // namespace harrier
