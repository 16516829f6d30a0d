#include "storage/log_chain.h"

#include <string>

#include <doctest/doctest.h>

#include "log_files.h"

namespace harrier {

namespace {

using test::LogFile;

// Logs as runs of the store write them. Every commit has two entries.
class Logs {
 public:
  LogFile& file() { return file_; }

  // RocksDB and we begin a run.
  void begin_run() {
    if (seq_ > 1) file_.add(test::logged_batch(seq_, 0, {}));
    ++run_;
    commit_ = 0;
    synced_ = 0;
    first_of_log_ = 0;
    add(0);
  }

  // Returns where it begins.
  std::uint64_t commit(std::size_t filling = 100) {
    const std::uint64_t begin = file_.size();
    ++commit_;
    add(filling);
    return begin;
  }

  void sync() { synced_ = commit_; }

  // The commit is written nowhere.
  void lose_commit() {
    ++commit_;
    seq_ += 2;
  }

  void switch_epoch() {
    sync();
    next_log();
    first_of_log_ = commit_ + 1;
  }

  void next_log(std::uint64_t synced_bytes = 0) {
    chain.add(++log_, synced_bytes, file_.octets());
    file_ = LogFile();
  }

  LogChain chain;

 private:
  void add(std::size_t filling) {
    file_.add(
        test::logged_batch(seq_, 2, CommitMark{run_, commit_, synced_, first_of_log_}, filling));
    seq_ += 2;
  }

  LogFile file_;
  std::uint64_t log_ = 0;
  std::uint64_t seq_ = 1;
  std::uint64_t run_ = 0;
  std::uint64_t commit_ = 0;
  std::uint64_t synced_ = 0;
  std::uint64_t first_of_log_ = 0;
};

}  // namespace

TEST_SUITE("log chain") {
  TEST_CASE("runs and epochs one after the other are whole") {
    Logs logs;
    for (int run = 0; run < 3; ++run) {
      logs.begin_run();
      for (int epoch = 0; epoch < 3; ++epoch) {
        for (int i = 0; i < 5; ++i)
          logs.commit();
        logs.switch_epoch();
      }
      logs.next_log();
    }
    CHECK_FALSE(logs.chain.judge().has_value());
    CHECK(logs.chain.idle_ends().empty());
  }

  TEST_CASE("a run may begin with a higher sequence number than the replay reached") {
    Logs logs;
    logs.begin_run();
    logs.commit();
    logs.next_log();
    logs.file().add(test::logged_batch(5, 0, {}));
    logs.file().add(test::logged_batch(900, 2, CommitMark{.run = 2}));
    logs.next_log();
    CHECK_FALSE(logs.chain.judge().has_value());
  }

  TEST_CASE("an interrupted write at the end loses nothing synced") {
    Logs logs;
    logs.begin_run();
    logs.commit();
    const std::uint64_t last = logs.commit();
    SUBCASE("missing") {
      logs.file().cut_at(last + 50);
    }
    SUBCASE("zeroed") {
      logs.file().zero_from(last + 50);
    }
    logs.next_log();
    const auto verdict = logs.chain.judge();
    REQUIRE(verdict.has_value());
    CHECK_FALSE(verdict->synced_lost);
    CHECK(verdict->is_end);
    CHECK(verdict->cut.offset == last);
    CHECK(verdict->commits == "commits from 2 on of run 1");
  }

  TEST_CASE("an interrupted write whose log was known to be synced is a loss") {
    Logs logs;
    logs.begin_run();
    const std::uint64_t last = logs.commit();
    const std::uint64_t size = logs.file().size();
    SUBCASE("cut within a record") {
      logs.file().cut_at(last + 20);
    }
    SUBCASE("cut between records") {
      logs.file().cut_at(last);
    }
    SUBCASE("zeroed between records") {
      logs.file().zero_from(last);
    }
    logs.next_log(size);
    REQUIRE(logs.chain.judge().has_value());
    CHECK(logs.chain.judge()->synced_lost);
  }

  TEST_CASE("one flipped bit in the last record is no interrupted write") {
    Logs logs;
    logs.begin_run();
    logs.file().flip(logs.commit() + 30, 4);
    logs.next_log();
    REQUIRE(logs.chain.judge().has_value());
    CHECK(logs.chain.judge()->synced_lost);
  }

  TEST_CASE("damage in the middle is a loss if a later commit knows that it was synced") {
    for (const bool was_synced : {true, false}) {
      for (const std::size_t filling : {100U, 40'000U}) {
        CAPTURE(was_synced);
        CAPTURE(filling);
        Logs logs;
        logs.begin_run();
        logs.commit();
        logs.sync();
        const std::uint64_t bad = logs.commit(filling);
        logs.commit(filling);
        if (was_synced) logs.sync();
        logs.commit(filling);
        logs.file().flip(bad + 20, 1);
        logs.file().flip(bad + 30, 1);
        logs.file().flip(bad + 31, 2);
        logs.next_log();
        const auto verdict = logs.chain.judge();
        REQUIRE(verdict.has_value());
        CHECK(verdict->synced_lost == was_synced);
        CHECK(verdict->cut.offset == bad);
        CHECK(verdict->place.offset == bad);
        CHECK(verdict->commits == "commits 2 to 2 of run 1");
      }
    }
  }

  TEST_CASE("damage at the begin of a log is a loss if something of it was synced") {
    for (const bool was_synced : {true, false}) {
      CAPTURE(was_synced);
      Logs logs;
      logs.begin_run();
      logs.commit();
      logs.switch_epoch();
      Logs later = logs;
      later.chain = LogChain();  // the first log is not needed any more
      later.commit();
      if (was_synced) later.sync();
      later.commit();
      for (const std::uint64_t offset : {20U, 21U, 40U})
        later.file().flip(offset);
      later.next_log();
      const auto verdict = later.chain.judge();
      REQUIRE(verdict.has_value());
      CHECK(verdict->synced_lost == was_synced);
      CHECK(verdict->cut.offset == 0);
      CHECK(verdict->commits == "commits up to 2 of run 1");
    }
  }

  TEST_CASE("a missing log is a loss") {
    Logs logs;
    logs.begin_run();
    logs.commit();
    logs.switch_epoch();
    logs.lose_commit();
    logs.switch_epoch();  // empty, as if it were not there
    logs.commit();
    logs.next_log();
    const auto verdict = logs.chain.judge();
    REQUIRE(verdict.has_value());
    CHECK(verdict->synced_lost);
    CHECK_FALSE(verdict->is_damage);
    CHECK(verdict->commits == "commits 2 to 2 of run 1");
  }

  TEST_CASE("a gap between two logs is cut if it was never synced, even behind whole records") {
    Logs logs;
    logs.begin_run();
    logs.commit();
    logs.sync();
    logs.commit();
    logs.lose_commit();
    const std::uint64_t end = logs.file().size();
    logs.next_log();  // sealed by RocksDB, without our sync
    logs.commit();
    logs.commit();
    SUBCASE("never synced") {
      logs.next_log();
      const auto verdict = logs.chain.judge();
      REQUIRE(verdict.has_value());
      CHECK_FALSE(verdict->synced_lost);
      CHECK_FALSE(verdict->is_end);
      CHECK(verdict->cut.log == 1);
      CHECK(verdict->cut.offset == end);
    }
    SUBCASE("synced before a later commit") {
      logs.sync();
      logs.commit();
      logs.next_log();
      REQUIRE(logs.chain.judge().has_value());
      CHECK(logs.chain.judge()->synced_lost);
    }
    SUBCASE("synced when a later run began") {
      logs.next_log();
      logs.begin_run();
      logs.next_log();
      REQUIRE(logs.chain.judge().has_value());
      CHECK(logs.chain.judge()->synced_lost);
    }
  }

  TEST_CASE("what a run before had lost already is not missed again") {
    Logs logs;
    logs.begin_run();
    logs.commit();
    const std::uint64_t end = logs.file().size();
    logs.file().add(std::string(500, 'x'));
    logs.file().cut_at(end + 200);
    logs.next_log();
    logs.begin_run();
    logs.commit();
    logs.next_log();
    CHECK_FALSE(logs.chain.judge().has_value());
    REQUIRE(logs.chain.idle_ends().size() == 1);
    CHECK(logs.chain.idle_ends()[0].offset == end);
  }
}

}  // namespace harrier
