// A full disk under the store: nothing is confirmed, nobody dies, and it goes on when there is
// space. The disk is simulated, so that it can be full at any place.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "fault_run.h"
#include "storage/disk_space.h"

namespace harrier {

namespace {

using rocksdb::IOStatus;
using test::FaultRun;
using test::FileOperation;

using Complaints = std::vector<std::string>;

constexpr std::uint64_t kSeeds = 2;

void open(FaultRun& run) {
  const auto opened = run.open();
  REQUIRE_MESSAGE(opened.has_value(), opened.error().detail);
  CHECK(*opened == Complaints{});
}

IOStatus no_space() {
  IOStatus status = IOStatus::NoSpace("No space left on device");
  status.SetRetryable(true);  // as RocksDB's own file system does
  return status;
}

// Everything submitted is announced in the end, and there after a power cut.
void check_healed(FaultRun& run) {
  run.await_space();
  REQUIRE_MESSAGE(!run.failed(), run.failure());
  run.submit(100, 4);
  run.await_all();
  REQUIRE_MESSAGE(!run.failed(), run.failure());
  CHECK(run.all_announced());
  run.cut_power();
  open(run);
}

}  // namespace

TEST_SUITE("store on a full disk") {
  TEST_CASE("nothing is announced while the disk is full, everything when it has space again") {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      CAPTURE(seed);
      FaultRun run(seed);
      open(run);
      run.submit(100, 4);
      run.disk().limit_space(run.below(300'000));
      run.fill();
      REQUIRE_MESSAGE(!run.failed(), run.failure());
      CHECK(run.disk().ran_full());
      const auto announced = run.announced();
      run.submit(200, 0);
      CHECK(run.announced() == announced);
      run.disk().limit_space({});
      check_healed(run);
    }
  }

  TEST_CASE("the store heals wherever the space ends") {
    struct Place {
      std::string name;
      FileOperation operation;
      std::string file;
    };

    for (const Place& place :
         {Place{"append to the log", FileOperation::append, ".log"},
          Place{"creation of a log", FileOperation::create, ".log"},
          Place{"append to a table", FileOperation::append, ".sst"},
          Place{"creation of a table", FileOperation::create, ".sst"},
          Place{"append to the manifest", FileOperation::append, "MANIFEST"}}) {
      CAPTURE(place.name);
      for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
        CAPTURE(seed);
        FaultRun run(seed);
        open(run);
        run.disk().fail_with({.operation = place.operation,
                              .file = place.file,
                              .nth = 1 + run.below(3),
                              .error = no_space(),
                              .more = run.below(3),
                              .is_short = run.below(2) == 0});
        while (!run.disk().failed() && !run.failed())
          run.submit(50, 4);
        check_healed(run);
      }
    }
  }

  TEST_CASE("a power cut while the disk is full loses nothing that was announced") {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      CAPTURE(seed);
      FaultRun run(seed);
      open(run);
      run.disk().limit_space(50'000 + run.below(300'000));
      run.fill();
      run.submit(50, 0);
      if (seed % 2 == 0) {
        run.cut_power();
      } else {
        run.kill_process();
      }
      run.disk().limit_space({});
      open(run);
    }
  }

  TEST_CASE("a store on a full disk opens, or says why not and opens later") {
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
      CAPTURE(seed);
      FaultRun run(seed);
      open(run);
      run.disk().limit_space(50'000 + run.below(300'000));
      run.fill();
      run.kill_process();
      run.disk().limit_space(seed % 2 == 0 ? 0 : run.below(20'000));
      const auto opened = run.open();
      if (opened) {
        CHECK(*opened == Complaints{});
      } else {
        CHECK(opened.error().kind == StoreError::Kind::no_space);
        CHECK(opened.error().detail.find("the disk is full") != std::string::npos);
      }
      run.kill_process();
      run.disk().limit_space({});
      open(run);
    }
  }

  TEST_CASE("a stop while the disk is full gives up what was not announced, and only that") {
    FaultRun run(1);
    open(run);
    run.disk().limit_space(100'000);
    run.fill();
    run.stop();
    CHECK(run.failed());
    CHECK(run.failure_kind() == StoreError::Kind::no_space);
    CHECK_FALSE(run.announced_after_failure());
    run.disk().limit_space({});
    run.cut_power();
    open(run);
  }

  TEST_CASE("a sync that fails for want of space is final: what it lost is not known") {
    FaultRun run(1);
    open(run);
    run.disk().fail_with({.operation = FileOperation::sync, .file = ".log", .error = no_space()});
    while (!run.failed())
      run.submit(50, 4);
    CHECK(run.failure_kind() == StoreError::Kind::io);
    run.cut_power();
    open(run);
  }
}

TEST_SUITE("disk space") {
  TEST_CASE("the free and total octets of a directory's file system") {
    const test::TempDir temp;
    const auto space = disk_space(temp.path());
    REQUIRE(space.has_value());
    CHECK(space->total_bytes > 0);
    CHECK(space->free_bytes <= space->total_bytes);
  }

  TEST_CASE("a directory that is not there") {
    const auto space = disk_space("/no/such/directory");
    REQUIRE_FALSE(space.has_value());
    CHECK(space.error().kind == StoreError::Kind::io);
    CHECK(space.error().detail.find("/no/such/directory") != std::string::npos);
  }
}

}  // namespace harrier
