#include "storage/body_store.h"

#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>

#include "writer_bench.h"

namespace harrier {

namespace {

using test::sequences_in;
using test::text_message;
using Bench = test::WriterBench;

constexpr std::uint32_t kLanes = 10;

void put_in_all(Bench& bench, Sequence seq, const MessageRef& message) {
  for (std::uint32_t lane = 0; lane < kLanes; ++lane)
    bench.accounts.put(bench.batch, LaneId{lane}, seq, message);
}

void settle_all(Bench& bench, Sequence begin, Sequence end) {
  for (std::uint32_t lane = 0; lane < kLanes; ++lane)
    bench.accounts.settle_range(bench.batch, LaneId{lane}, begin, end);
}

// Value sizes in `sh`, by key.
std::map<std::string, std::size_t> chunks_in(const Bench& bench) {
  const Columns& columns = bench.database->columns();
  std::map<std::string, std::size_t> found;
  const std::unique_ptr<rocksdb::Iterator> it(
      columns.db->NewIterator(rocksdb::ReadOptions(), columns.sh));
  for (it->SeekToFirst(); it->Valid(); it->Next())
    found[it->key().ToString()] = it->value().size();
  return found;
}

// A body in which a misplaced chunk would show.
std::string long_body(std::size_t bytes) {
  std::string body(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i)
    body[i] = static_cast<char>((i * 2654435761U) >> 24);
  return body;
}

LanePage page_of(const Bench& bench, std::uint32_t lane) {
  return bench.page({.lane = LaneId{lane}, .from = 1, .end = 1000, .bytes_max = 64 << 20});
}

}  // namespace

TEST_SUITE("body store") {
  TEST_CASE("a body for many lanes is written once, where that saves a kilobyte") {
    struct Row {
      const char* name;
      std::size_t body_bytes;
      std::uint32_t lanes;
      std::size_t chunks;
    };

    for (const Row& row : {
             Row{"one lane", 4000, 1, 0},
             Row{"two lanes", 1024, 2, 1},
             Row{"two lanes, less", 1023, 2, 0},
             Row{"ten lanes", 128, 10, 1},
             Row{"eight lanes, less", 146, 8, 0},
             Row{"small", 127, 10, 0},
         }) {
      CAPTURE(row.name);
      Bench bench;
      const auto message = text_message(std::string(row.body_bytes, 'x'));
      for (std::uint32_t lane = 0; lane < row.lanes; ++lane)
        bench.accounts.put(bench.batch, LaneId{lane}, 1, message);
      bench.write();
      CHECK(chunks_in(bench).size() == row.chunks);
      for (std::uint32_t lane = 0; lane < row.lanes; ++lane) {
        const LanePage page = page_of(bench, lane);
        REQUIRE(page.entries.size() == 1);
        CHECK(page.entries[0].message->body() == message->body());
        CHECK(page.entries[0].message->properties() == message->properties());
        CHECK(bench.lane(LaneId{lane}).tally == Tally{1, row.body_bytes});
      }
    }
  }

  TEST_CASE("parts of a group share bodies across their batches") {
    Bench bench;
    const auto message = text_message(std::string(2000, 'x'));
    std::vector<StoreBatch> parts(2);
    for (std::uint32_t i = 0; i < 2; ++i) {
      parts[i].put(LaneId{i}, 1, message, kNoTime, kNoTime);
      parts[i].put(LaneId{i}, 2, text_message(std::string(2000, 'y')), kNoTime, kNoTime);
      parts[i].join_group(GroupId{1}, 2);
    }
    REQUIRE(bench.writer->write(parts).has_value());
    CHECK(chunks_in(bench).size() == 1);
    CHECK(page_of(bench, 1).entries.at(0).message->body() == message->body());
  }

  TEST_CASE("only lanes in which the message survives the commit count") {
    Bench bench;
    put_in_all(bench, 1, text_message(std::string(2000, 'x')));
    for (std::uint32_t lane = 1; lane < kLanes; ++lane)
      bench.settle(1, LaneId{lane});
    bench.write();
    CHECK(chunks_in(bench).empty());
    CHECK(page_of(bench, 0).entries.size() == 1);
    put_in_all(bench, 2, text_message(std::string(2000, 'x')));
    settle_all(bench, 2, 3);
    bench.write();
    CHECK(chunks_in(bench).empty());
  }

  TEST_CASE("a very large body lies in chunks, also for one lane") {
    for (const std::size_t bytes : {(1U << 20) + 1, 5U << 18, 3'333'333U}) {
      CAPTURE(bytes);
      Bench bench;
      const std::string body = long_body(bytes);
      bench.put(1, "before");
      bench.put(2, body);
      bench.put(3, "behind");
      bench.write();
      const auto chunks = chunks_in(bench);
      CHECK(chunks.size() == (bytes + kBodyChunkBytes - 1) / kBodyChunkBytes);
      for (const auto& [key, size] : chunks)
        CHECK(size <= kBodyChunkBytes + 5);
      CHECK(bench.lane().runs.at(0).bytes < 1000);
      const LanePage page = page_of(bench, Bench::kLane.value);
      REQUIRE(sequences_in(page) == std::vector<Sequence>{1, 2, 3});
      CHECK(page.entries[1].message->body() == body);
    }
  }

  TEST_CASE("bodies are there after a restart, and new ones do not take their place") {
    Bench bench;
    const auto first = text_message(std::string(2000, 'a'));
    const auto second = text_message(std::string(2000, 'b'));
    put_in_all(bench, 1, first);
    bench.write();
    bench.reopen();
    put_in_all(bench, 2, second);
    bench.write();
    for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
      const LanePage page = page_of(bench, lane);
      REQUIRE(sequences_in(page) == std::vector<Sequence>{1, 2});
      CHECK(page.entries[0].message->body() == first->body());
      CHECK(page.entries[1].message->body() == second->body());
      CHECK(bench.stored(LaneId{lane}) == std::vector<Sequence>{1, 2});
    }
  }

  TEST_CASE("a damaged or missing body is reported, not skipped") {
    for (const bool missing : {true, false}) {
      CAPTURE(missing);
      Bench bench;
      put_in_all(bench, 1, text_message(std::string(2000, 'a')));
      put_in_all(bench, 2, text_message(std::string(2000, 'b')));
      bench.write();
      const Columns& columns = bench.database->columns();
      const std::string key = chunks_in(bench).rbegin()->first;
      std::string value;
      REQUIRE(columns.db->Get(rocksdb::ReadOptions(), columns.sh, key, &value).ok());
      value[1000] ^= 1;
      REQUIRE((missing ? columns.db->Delete(rocksdb::WriteOptions(), columns.sh, key)
                       : columns.db->Put(rocksdb::WriteOptions(), columns.sh, key, value))
                  .ok());
      const LanePage page = page_of(bench, 5);
      CHECK(sequences_in(page) == std::vector<Sequence>{1});
      CHECK(page.next == 2);
      REQUIRE(page.damage.has_value());
      CHECK(page.damage->detail.find("message 2 of lane 5") == 0);
      CHECK(page.damage->detail.ends_with(kDamageMend));
      const LanePage accepted = bench.accepting_page({.lane = LaneId{5}, .from = 1, .end = 1000});
      CHECK_FALSE(accepted.damage.has_value());
      CHECK(sequences_in(accepted) == std::vector<Sequence>{1});
      CHECK(accepted.next == 1000);
      CHECK_FALSE(scan_blocks(columns, bench.writer->lanes(), [](StoredEntry&&) {}).has_value());
    }
  }

  TEST_CASE("bodies go with their epochs") {
    Bench bench(Bench::kSmallEpochs);
    Sequence seq = 0;
    for (int commit = 0; commit < 400; ++commit) {
      for (int i = 0; i < 8; ++i) {
        ++seq;
        put_in_all(bench, seq, text_message(std::string(4000, 'x')));
      }
      bench.write();
      REQUIRE(bench.writer->sync().has_value());
      REQUIRE(bench.writer->tidy(false).has_value());
      if (seq > 80) settle_all(bench, 1, seq - 80);
    }
    REQUIRE(bench.writer->close().has_value());
    // 12.8 MB of bodies went through; a few epochs of 170 KB may lie around.
    CHECK(bench.temp.bytes_of(".sst") < 3'000'000);
    CHECK(page_of(bench, 3).next == 1000);
    CHECK(bench.stored(LaneId{3}).size() == 89);
  }
}

}  // namespace harrier
