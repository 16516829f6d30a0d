#include "storage/garbage_collector.h"

#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <rocksdb/db.h>

#include "writer_bench.h"

namespace harrier {

namespace {

using test::text_message;
using Bench = test::WriterBench;

constexpr LaneId kSlow{4};
constexpr std::uint64_t kEpoch = Bench::kSmallEpochs;

void sync(Bench& bench) {
  REQUIRE(bench.writer->sync().has_value());
  REQUIRE(bench.writer->tidy(false).has_value());
}

// Octets in the files of all epochs.
std::uint64_t file_bytes(const Bench& bench, rocksdb::ColumnFamilyHandle* column) {
  std::vector<rocksdb::LiveFileMetaData> files;
  bench.database->columns().db->GetLiveFilesMetaData(&files);
  std::uint64_t bytes = 0;
  for (const rocksdb::LiveFileMetaData& file : files) {
    if (file.column_family_name == column->GetName()) bytes += file.size;
  }
  return bytes;
}

std::uint64_t block_bytes(const Bench& bench) {
  return file_bytes(bench, bench.database->columns().msg);
}

// Waits until every epoch so far is in a file below level 0, as it is some time after its end.
void settle_down(const Bench& bench) {
  const Columns& columns = bench.database->columns();
  REQUIRE(columns.db->Flush(rocksdb::FlushOptions(), columns.msg).ok());
  for (const EpochUse& use : bench.writer->lanes().needed_epochs()) {
    const auto first = encode_epoch(use.epoch);
    const auto last = encode_epoch(use.epoch + 1);
    const rocksdb::Slice begin(first.view().data(), first.view().size());
    const rocksdb::Slice end(last.view().data(), last.view().size());
    REQUIRE(columns.db->CompactRange({}, columns.msg, &begin, &end).ok());
  }
}

// Fills some epochs; every 50th message stays in a lane of its own, all others are settled.
Sequence leave_some_in_each_epoch(Bench& bench) {
  Sequence slow = 0;
  for (Sequence seq = 1; seq <= 1000; ++seq) {
    bench.put(seq, std::string(2000, 'x'));
    if (seq % 50 == 0) {
      bench.accounts.put(bench.batch, kSlow, ++slow, text_message(std::string(2000, 's')));
    }
    bench.write();
  }
  settle_down(bench);
  bench.settle_below(1001);
  bench.write();
  sync(bench);
  REQUIRE(bench.writer->tidy(true).has_value());  // ends the epoch: the floors are published
  return slow;
}

Census census_of(const Bench& bench) {
  return {.current = UINT32_MAX,
          .in_memory_from = UINT32_MAX,
          .checkpoint = 0,
          .needed = bench.writer->lanes().count_needed_epochs(),
          .bodies = bench.writer->lanes().body_epochs(),
          .has_live_bytes = true};
}

}  // namespace

TEST_SUITE("garbage collector") {
  TEST_CASE("an old epoch kept by a few messages is compacted down to them, once") {
    Bench bench(kEpoch, {.epoch_time_max = std::chrono::minutes(0)});
    Sequence slow = leave_some_in_each_epoch(bench);
    REQUIRE(bench.lane(kSlow).runs.size() > 3);
    const std::uint64_t before = block_bytes(bench);
    REQUIRE(before > 1'500'000);

    SUBCASE("not while it is young") {
      GarbageCollector collector(bench.database->columns(),
                                 {.compact_after = std::chrono::hours(1)});
      collector.collect(census_of(bench));
      CHECK(block_bytes(bench) == before);
    }
    SUBCASE("not while most of it is needed") {
      GarbageCollector collector(bench.database->columns(),
                                 {.compact_after = std::chrono::seconds(0)});
      Census census = census_of(bench);
      for (EpochUse& use : census.needed)
        use.live_bytes = kEpoch;
      collector.collect(census);
      CHECK(block_bytes(bench) == before);
    }
    SUBCASE("not where it is damaged, which would end all writes") {
      std::vector<rocksdb::LiveFileMetaData> files;
      bench.database->columns().db->GetLiveFilesMetaData(&files);
      for (const rocksdb::LiveFileMetaData& file : files) {
        if (file.column_family_name != "msg") continue;
        const std::string path = file.db_path + file.name;
        std::fstream(path, std::ios::in | std::ios::out | std::ios::binary)
            .seekp(static_cast<std::streamoff>(file.size / 2))
            .write("spoilt", 6);
      }
      GarbageCollector collector(bench.database->columns(),
                                 {.compact_after = std::chrono::seconds(0)});
      collector.collect(census_of(bench));
      CHECK(block_bytes(bench) == before);
      bench.accounts.put(bench.batch, kSlow, ++slow, text_message("still written"));
      bench.write();
      CHECK(bench.writer->sync().has_value());
      return;
    }
    SUBCASE("when it is old") {
      GarbageCollector collector(bench.database->columns(),
                                 {.compact_after = std::chrono::seconds(0)});
      collector.collect(census_of(bench));
      CHECK(block_bytes(bench) < before / 5);
    }
    const LanePage page = bench.page({.lane = kSlow, .from = 1, .end = slow + 1});
    CHECK(page.entries.size() == slow);
    CHECK_FALSE(page.damage.has_value());
  }

  TEST_CASE("a page planned before its bodies were collected reports no damage") {
    Bench bench(kEpoch);
    for (Sequence seq = 1; seq <= 200; ++seq) {
      const auto message = text_message(std::string(4000, 'x'));
      for (std::uint32_t lane = 0; lane < 3; ++lane)
        bench.accounts.put(bench.batch, LaneId{lane}, seq, message);
      bench.write();
    }
    const Columns& columns = bench.database->columns();
    REQUIRE(bench.writer->close().has_value());
    const PagePlan plan = plan_page(
        &bench.lane(LaneId{1}), {.lane = LaneId{1}, .from = 1, .end = 201, .bytes_max = 64 << 20});
    CHECK(read_page(columns, bench.run, plan).entries.size() == 200);

    GarbageCollector collector(columns);
    Census census = census_of(bench);
    census.bodies = {};
    SUBCASE("the blocks are still there") {}
    SUBCASE("the blocks are gone too") {
      census.needed = {};
    }
    collector.collect(census);
    CHECK(file_bytes(bench, columns.sh) < 200'000);  // nothing is deleted from level 0
    const LanePage page = read_page(columns, bench.run, plan);
    CHECK_FALSE(page.damage.has_value());
    CHECK(page.entries.size() < 50);
    CHECK(page.next == 201);
  }

  // Beside traffic that does not stay, a message is parked in each epoch.
  TEST_CASE("a small message that stays does not keep the bodies of its epoch") {
    for (const bool restart : {false, true}) {
      CAPTURE(restart);
      Bench bench(kEpoch);
      for (Sequence seq = 1; seq <= 600; ++seq) {
        const auto message = text_message(std::string(4000, 'x'));
        for (std::uint32_t lane = 0; lane < 3; ++lane)
          bench.accounts.put(bench.batch, LaneId{lane}, seq, message);
        if (seq % 30 == 0) {
          bench.accounts.put(bench.batch, kSlow, seq, text_message(std::string(100, 's')));
        }
        bench.write();
        for (std::uint32_t lane = 0; lane < 3; ++lane)
          bench.settle(seq, LaneId{lane});
        bench.write();
        sync(bench);
        if (restart && seq == 300) bench.reopen();
      }
      const Columns& columns = bench.database->columns();
      REQUIRE(bench.writer->close().has_value());
      CHECK(bench.lane(kSlow).runs.size() > 10);
      CHECK(bench.writer->lanes().body_epochs().empty());
      CHECK(file_bytes(bench, columns.sh) < 400'000);  // of 2.4 MB; what is in level 0 stays
      const LanePage page = bench.page({.lane = kSlow, .from = 1, .end = 601});
      CHECK(page.entries.size() == 20);
      CHECK_FALSE(page.damage.has_value());
    }
  }

  TEST_CASE("what nobody needs is deleted when the writer closes") {
    Bench bench(kEpoch);
    for (Sequence seq = 1; seq <= 1000; ++seq) {
      bench.put(seq, std::string(2000, 'x'));
      bench.write();
    }
    settle_down(bench);
    CHECK(block_bytes(bench) > 1'500'000);
    bench.settle_below(1001);
    bench.write();
    REQUIRE(bench.writer->close().has_value());
    CHECK(block_bytes(bench) == 0);
  }
}

}  // namespace harrier
