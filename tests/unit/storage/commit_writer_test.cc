#include "storage/commit_writer.h"

#include <string>

#include <doctest/doctest.h>

#include "store_support.h"

namespace harrier {

namespace {

using test::text_message;

constexpr LaneId kLane{3};

// A writer on a database of its own, without the thread of the commit loop.
struct Bench {
  Bench() : Bench(96ULL << 20) {}

  explicit Bench(std::uint64_t write_buffer_bytes) {
    StoreConfig config;
    config.write_buffer_bytes = write_buffer_bytes;
    auto opened = Database::open(temp.path() + "/db", config, filter);
    REQUIRE(opened.has_value());
    database = *std::move(opened);
    auto recovered = recover(database->columns());
    REQUIRE(recovered.has_value());
    writer = std::make_unique<CommitWriter>(*database, filter, *std::move(recovered),
                                            WriterLimits{.epoch_bytes = epoch_bytes(config)});
  }

  std::uint64_t write() {
    const auto written = writer->write({&batch, 1});
    REQUIRE(written.has_value());
    batch.clear();
    CHECK(writer->lanes().check_invariants());
    return *written;
  }

  // What a restart would find.
  RecoveredStore recovered() const {
    auto found = recover(database->columns());
    REQUIRE(found.has_value());
    return *std::move(found);
  }

  std::vector<Sequence> stored(LaneId lane) const {
    std::vector<Sequence> found;
    const RecoveredStore store = recovered();
    CHECK(scan_blocks(database->columns(), store.lanes, [&](StoredEntry&& entry) {
            if (entry.lane == lane) found.push_back(entry.seq);
          }).has_value());
    return found;
  }

  void put(Sequence seq, std::string_view body = "body") {
    batch.put(kLane, seq, text_message(body), kNoTime, kNoTime);
  }

  test::TempDir temp;
  FloorFilter filter;
  std::unique_ptr<Database> database;
  std::unique_ptr<CommitWriter> writer;
  StoreBatch batch;
};

}  // namespace

TEST_SUITE("commit writer") {
  TEST_CASE("entries put and settled in one commit are never written") {
    Bench bench;
    for (Sequence seq = 1; seq <= 4; ++seq)
      bench.put(seq);
    for (Sequence seq = 1; seq <= 4; ++seq)
      bench.batch.settle(kLane, seq);
    CHECK(bench.write() == 0);
    CHECK(bench.writer->lanes().find(kLane)->runs.empty());
    CHECK(bench.writer->lanes().find(kLane)->settled.floor() == 5);
  }

  TEST_CASE("what vanished is noted with the next commit that writes") {
    Bench bench;
    bench.put(1);
    bench.batch.settle(kLane, 1);
    CHECK(bench.write() == 0);
    bench.put(2);
    CHECK(bench.write() > 0);
    CHECK(bench.recovered().lanes.find(kLane)->settled.floor() == 2);
    CHECK(bench.stored(kLane) == std::vector<Sequence>{2});
  }

  TEST_CASE("only the survivors of a commit are written") {
    Bench bench;
    for (Sequence seq = 1; seq <= 6; ++seq)
      bench.put(seq);
    for (const Sequence seq : {2U, 3U, 6U})
      bench.batch.settle(kLane, seq);
    bench.write();
    CHECK(bench.stored(kLane) == std::vector<Sequence>{1, 4, 5});
    CHECK(bench.writer->lanes().find(kLane)->runs.at(0).entries == 3);
  }

  TEST_CASE("a settle of an earlier commit's entry is written") {
    Bench bench;
    bench.put(1);
    bench.put(2);
    const std::uint64_t unsynced = bench.write();
    bench.batch.settle(kLane, 1);
    CHECK(bench.write() > unsynced);
    CHECK(bench.stored(kLane) == std::vector<Sequence>{2});
  }

  TEST_CASE("sequences skipped by a put do not hold the floor") {
    Bench bench;
    bench.put(1);
    bench.put(5);
    bench.write();
    bench.batch.settle(kLane, 1);
    bench.batch.settle(kLane, 5);
    bench.write();
    CHECK(bench.writer->lanes().find(kLane)->settled.floor() == 6);
    CHECK(bench.recovered().lanes.find(kLane)->settled.floor() == 6);
  }

  TEST_CASE("a purge settles what is stored and what is not yet") {
    Bench bench;
    bench.put(1);
    bench.put(2);
    bench.write();
    bench.put(3);
    bench.batch.settle_below(kLane, 4);
    bench.put(4);
    bench.write();
    CHECK(bench.stored(kLane) == std::vector<Sequence>{4});
  }

  TEST_CASE("a dropped lane leaves nothing, whatever comes after") {
    Bench bench;
    bench.put(1);
    bench.write();
    bench.put(2);
    bench.batch.drop_lane(kLane);
    bench.put(3);
    bench.batch.settle(kLane, 1);
    bench.write();
    bench.batch.settle(kLane, 2);
    bench.write();
    CHECK(bench.writer->lanes().find(kLane) == nullptr);
    CHECK(bench.recovered().lanes.find(kLane) == nullptr);
    CHECK(bench.stored(kLane).empty());
  }

  TEST_CASE("many lanes in one commit keep apart") {
    Bench bench;
    for (Sequence seq = 1; seq <= 50; ++seq) {
      for (std::uint32_t lane = 0; lane < 20; ++lane) {
        bench.batch.put(LaneId{lane}, seq, text_message("x"), kNoTime, kNoTime);
      }
    }
    bench.batch.settle(LaneId{7}, 1);
    bench.write();
    for (std::uint32_t lane = 0; lane < 20; ++lane) {
      CHECK(bench.stored(LaneId{lane}).size() == (lane == 7 ? 49 : 50));
    }
  }

  TEST_CASE("epochs come and go, and only files with unsettled entries stay") {
    Bench bench(256 * 1024);
    const std::string body(4000, 'x');
    Sequence seq = 0;
    for (int commit = 0; commit < 400; ++commit) {
      for (int i = 0; i < 8; ++i)
        bench.put(++seq, body);
      bench.write();
      REQUIRE(bench.writer->sync().has_value());
      REQUIRE(bench.writer->tidy(false).has_value());
      if (seq > 80) bench.batch.settle_below(kLane, seq - 80);
    }
    // 12.8 MB went through; a few epochs of 170 KB may lie around.
    REQUIRE(bench.writer->close().has_value());
    CHECK(bench.temp.bytes_of(".sst") < 3'000'000);
    CHECK(bench.stored(kLane).size() == 89);
  }

  TEST_CASE("an old entry keeps its own epoch only") {
    Bench bench(256 * 1024);
    const std::string body(4000, 'x');
    bench.put(1, body);
    bench.write();
    Sequence seq = 1;
    for (int commit = 0; commit < 400; ++commit) {
      for (int i = 0; i < 8; ++i)
        bench.put(++seq, body);
      bench.write();
      REQUIRE(bench.writer->sync().has_value());
      REQUIRE(bench.writer->tidy(false).has_value());
      for (Sequence s = seq - 7; s <= seq; ++s)
        bench.batch.settle(kLane, s);
    }
    bench.write();
    REQUIRE(bench.writer->close().has_value());
    CHECK(bench.temp.bytes_of(".sst") < 3'000'000);
    CHECK(bench.stored(kLane) == std::vector<Sequence>{1});
    CHECK(bench.writer->lanes().find(kLane)->runs.size() == 1);
  }

  TEST_CASE("a message larger than an epoch is stored") {
    Bench bench(256 * 1024);
    bench.put(1, "small");
    bench.write();
    bench.put(2, std::string(3'000'000, 'x'));
    bench.write();
    bench.put(3, "small");
    bench.write();
    CHECK(bench.stored(kLane) == std::vector<Sequence>{1, 2, 3});
  }
}

}  // namespace harrier
