#include "storage/staged_bodies.h"

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>

#include "storage/check_data.h"
#include "writer_bench.h"

namespace harrier {

namespace {

using test::sequences_in;
using test::text_message;
using Bench = test::WriterBench;

constexpr std::uint64_t kEpochs = 1 << 20;  // memtables of a few parts each
constexpr std::size_t kPart = 2 * kBodyPartUnit;
constexpr std::size_t kBytes = 7 * kBodyPartUnit + 12345;
constexpr BodyNumber kBody{77};

// A body in which a misplaced chunk would show.
std::string long_body(std::size_t bytes) {
  std::string body(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i)
    body[i] = static_cast<char>((i * 2654435761U) >> 24);
  return body;
}

void settle_everything(Bench& bench) {
  REQUIRE(bench.writer->sync().has_value());
  REQUIRE(bench.writer->tidy(false).has_value());
}

// One part to a commit.
void stage(Bench& bench, const MessageRef& message, BodyNumber body = kBody, std::size_t from = 0) {
  const std::size_t bytes = message->body().size();
  for (std::size_t at = from; at < bytes; at += kPart) {
    bench.batch.stage(body, message, at, std::min(kPart, bytes - at));
    bench.write();
    settle_everything(bench);
  }
}

MessageRef staged_message(Bench& bench, std::size_t bytes = kBytes, BodyNumber body = kBody) {
  MessageRef message = text_message(long_body(bytes));
  stage(bench, message, body);
  message->set_stored_body(body);
  return message;
}

void put(Bench& bench, const MessageRef& message, Sequence seq, LaneId lane = Bench::kLane) {
  bench.accounts.put(bench.batch, lane, seq, message);
}

// So many epochs go by with messages that do not stay.
void pass_epochs(Bench& bench, int count, LaneId lane = LaneId{99}) {
  const Sequence first =
      bench.writer->lanes().find(lane) == nullptr ? 1 : bench.lane(lane).next_seq;
  for (Sequence seq = first; seq < first + static_cast<Sequence>(count); ++seq) {
    put(bench, text_message(std::string(900'000, 'x')), seq, lane);
    bench.write();
    bench.settle(seq, lane);
    bench.write();
    settle_everything(bench);
  }
}

LanePage page_of(const Bench& bench, LaneId lane = Bench::kLane) {
  return bench.page({.lane = lane, .from = 1, .end = 1000, .bytes_max = 64 << 20});
}

void check_has(const Bench& bench, const MessageRef& message, LaneId lane = Bench::kLane) {
  const LanePage page = page_of(bench, lane);
  CHECK_FALSE(page.damage.has_value());
  const bool is_there = std::any_of(
      page.entries.begin(), page.entries.end(),
      [&](const StoredEntry& entry) { return entry.message->body() == message->body(); });
  CHECK(is_there);
}

std::size_t chunks_in(const Bench& bench) {
  const Columns& columns = bench.database->columns();
  std::size_t found = 0;
  const std::unique_ptr<rocksdb::Iterator> it(
      columns.db->NewIterator(rocksdb::ReadOptions(), columns.sh));
  for (it->SeekToFirst(); it->Valid(); it->Next())
    ++found;
  return found;
}

}  // namespace

TEST_SUITE("staged bodies") {
  TEST_CASE("a put refers to what was staged and writes little") {
    Bench bench;  // one epoch
    const auto message = staged_message(bench);
    CHECK(chunks_in(bench) == 8);
    put(bench, message, 1);
    CHECK(bench.batch.bytes() < 1000);
    CHECK(bench.write() < 1000);
    CHECK(chunks_in(bench) == 8);
    CHECK(bench.lane().tally == Tally{1, kBytes});
    CHECK(bench.lane().bodies.empty());
    check_has(bench, message);
  }

  TEST_CASE("a body staged over several epochs is read by page, by scan and after restarts") {
    Bench bench(kEpochs);
    bench.put(1, "before");
    bench.write();
    const auto message = staged_message(bench);
    put(bench, message, 2);
    bench.put(3, "behind");
    bench.write();
    CHECK(bench.lane().bodies.size() >= 2);
    for (int restart = 0; restart < 3; ++restart) {
      CAPTURE(restart);
      CHECK(sequences_in(page_of(bench)) == std::vector<Sequence>{1, 2, 3});
      check_has(bench, message);
      CHECK(bench.stored(Bench::kLane) == std::vector<Sequence>{1, 2, 3});
      CHECK(bench.recovered().lanes.find(Bench::kLane)->bodies == bench.lane().bodies);
      // First from the block, later from the lane's snapshot.
      if (restart > 0) pass_epochs(bench, 5);
      check_has(bench, message);
      bench.reopen();
      CHECK(bench.writer->lanes().check_invariants());
    }
  }

  TEST_CASE("epochs of a body are needed until its entry is settled") {
    Bench bench(kEpochs);
    put(bench, staged_message(bench), 1);
    bench.write();
    pass_epochs(bench, 5);
    REQUIRE(bench.lane().bodies.size() >= 2);
    const Epoch first = bench.lane().bodies.front().epoch;
    CHECK(bench.writer->lanes().body_epochs().front() == first);
    bench.settle(1);
    bench.write();
    CHECK(bench.lane().bodies.empty());
    pass_epochs(bench, 5);
    REQUIRE(bench.writer->close().has_value());
    CHECK(bench.writer->lanes().needed_epochs().empty());
    CHECK(bench.writer->lanes().body_epochs().empty());
    CHECK(chunks_in(bench) == 0);
  }

  TEST_CASE("an old entry below does not keep the epochs of a settled body") {
    Bench bench(kEpochs);
    bench.put(1, "old");
    bench.write();
    pass_epochs(bench, 1);  // the old entry needs its own epoch
    put(bench, staged_message(bench), 2);
    bench.write();
    bench.settle(2);
    bench.write();
    pass_epochs(bench, 5);
    CHECK(bench.lane().bodies.empty());
    CHECK(bench.recovered().lanes.find(Bench::kLane)->bodies.empty());
    REQUIRE(bench.writer->close().has_value());
    CHECK(chunks_in(bench) == 0);
    CHECK(bench.stored(Bench::kLane) == std::vector<Sequence>{1});
  }

  TEST_CASE("a body waits for its put as long as it takes") {
    Bench bench(kEpochs);
    const auto message = staged_message(bench);
    pass_epochs(bench, 10);
    put(bench, message, 1);
    bench.write();
    CHECK(chunks_in(bench) == 8);
    check_has(bench, message);
    pass_epochs(bench, 10);
    check_has(bench, message);
  }

  TEST_CASE("what will never be put is given up") {
    Bench bench(kEpochs);
    staged_message(bench);
    bench.batch.unstage(kBody);
    bench.batch.unstage(BodyNumber{5});  // unknown
    bench.write();
    pass_epochs(bench, 5);
    REQUIRE(bench.writer->close().has_value());
    CHECK(chunks_in(bench) == 0);
  }

  TEST_CASE("an unstage in the commit of the put, before or behind it, harms nothing") {
    for (const bool before : {true, false}) {
      CAPTURE(before);
      Bench bench(kEpochs);
      const auto message = staged_message(bench);
      if (before) bench.batch.unstage(kBody);
      put(bench, message, 1);
      if (!before) bench.batch.unstage(kBody);
      bench.write();
      CHECK(chunks_in(bench) == 8);
      check_has(bench, message);
    }
  }

  TEST_CASE("pieces of a body whose put never came vanish after a crash") {
    Bench bench(kEpochs);
    staged_message(bench);
    bench.reopen();
    CHECK(page_of(bench).entries.empty());
    pass_epochs(bench, 5);
    REQUIRE(bench.writer->close().has_value());
    CHECK(chunks_in(bench) == 0);
  }

  TEST_CASE("a put writes the body where the writer does not know all of it") {
    Bench bench(kEpochs);
    const auto message = text_message(long_body(kBytes));
    SUBCASE("nothing was staged") {}
    SUBCASE("the end is missing") {
      bench.batch.stage(kBody, message, 0, kPart);
      bench.write();
    }
    SUBCASE("the begin went to an earlier run") {
      bench.batch.stage(kBody, message, 0, kPart);
      bench.write();
      bench.reopen();
      stage(bench, message, kBody, kPart);
    }
    SUBCASE("a part is missing") {
      bench.batch.stage(kBody, message, 0, kPart);
      bench.batch.stage(kBody, message, 2 * kPart, kBytes - 2 * kPart);
      bench.write();
    }
    SUBCASE("it was given up before") {
      stage(bench, message);
      bench.batch.unstage(kBody);
      bench.write();
    }
    message->set_stored_body(kBody);
    put(bench, message, 1);
    bench.write();
    CHECK(bench.lane().bodies.empty());
    check_has(bench, message);
    bench.reopen();
    check_has(bench, message);
  }

  TEST_CASE("many lanes share a staged body until the last has settled it") {
    Bench bench(kEpochs);
    const auto message = staged_message(bench);
    for (std::uint32_t lane = 1; lane <= 3; ++lane)
      put(bench, message, 1, LaneId{lane});
    bench.write();
    CHECK(chunks_in(bench) == 8);
    bench.settle(1, LaneId{1});
    bench.write();
    bench.batch.drop_lane(LaneId{2});
    bench.write();
    pass_epochs(bench, 5);
    check_has(bench, message, LaneId{3});
    bench.reopen();
    check_has(bench, message, LaneId{3});
    bench.settle(1, LaneId{3});
    bench.write();
    pass_epochs(bench, 5);
    REQUIRE(bench.writer->close().has_value());
    CHECK(chunks_in(bench) == 0);
  }

  TEST_CASE("bodies staged at the same time keep apart") {
    Bench bench(kEpochs);
    const auto one = text_message(long_body(kBytes));
    const auto other = text_message(std::string(kBytes, 'o'));
    for (std::size_t at = 0; at < kBytes; at += kPart) {
      bench.batch.stage(BodyNumber{1}, one, at, std::min(kPart, kBytes - at));
      bench.batch.stage(BodyNumber{2}, other, at, std::min(kPart, kBytes - at));
      bench.write();
    }
    one->set_stored_body(BodyNumber{1});
    other->set_stored_body(BodyNumber{2});
    put(bench, other, 1);
    put(bench, one, 2);
    put(bench, text_message(std::string(2 << 20, 'z')), 3);  // numbered by the other writer
    bench.write();
    bench.reopen();
    const LanePage page = page_of(bench);
    REQUIRE(sequences_in(page) == std::vector<Sequence>{1, 2, 3});
    CHECK(page.entries[0].message->body() == other->body());
    CHECK(page.entries[1].message->body() == one->body());
    CHECK(page.entries[2].message->body() == std::string(2 << 20, 'z'));
  }

  TEST_CASE("a page made before its body was settled and collected reports no damage") {
    Bench bench(kEpochs);
    bench.put(1, "keeps the block of the next one");
    put(bench, staged_message(bench), 2);
    bench.write();
    const PagePlan plan = plan_page(
        &bench.lane(), {.lane = Bench::kLane, .from = 1, .end = 10, .bytes_max = 64 << 20});
    bench.settle(2);
    bench.write();
    pass_epochs(bench, 5);
    REQUIRE(bench.writer->close().has_value());
    const LanePage page = read_page(bench.database->columns(), bench.run, plan);
    CHECK_FALSE(page.damage.has_value());
    CHECK(sequences_in(page) == std::vector<Sequence>{1});
    CHECK(page.next == 10);
  }

  TEST_CASE("a damaged chunk in another epoch is reported") {
    Bench bench(kEpochs);
    put(bench, staged_message(bench), 1);
    bench.write();
    const Columns& columns = bench.database->columns();
    const std::unique_ptr<rocksdb::Iterator> it(
        columns.db->NewIterator(rocksdb::ReadOptions(), columns.sh));
    it->SeekToFirst();
    std::string value = it->value().ToString();
    value[1000] ^= 1;
    REQUIRE(columns.db->Put(rocksdb::WriteOptions(), columns.sh, it->key(), value).ok());
    const LanePage page = page_of(bench);
    REQUIRE(page.damage.has_value());
    CHECK(page.damage->detail.find("message 1 of lane 3") == 0);
    CHECK_FALSE(scan_blocks(columns, bench.writer->lanes(), [](StoredEntry&&) {}).has_value());
  }

  TEST_CASE("check_data reads staged bodies") {
    for (const bool damaged : {false, true}) {
      CAPTURE(damaged);
      const test::TempDir temp;
      const StoreConfig config = test::small_epochs(temp.path());
      {
        const auto store = test::open_store(config);
        REQUIRE(store->recover_lanes({}).has_value());
        const SubmitterId submitter = store->add_submitter({});
        const auto message = text_message(long_body(kBytes));
        for (std::size_t at = 0; at < kBytes; at += kPart) {
          StoreBatch batch;
          batch.stage(kBody, message, at, std::min(kPart, kBytes - at));
          batch.want_sync();
          store->submit(submitter, batch);
        }
        message->set_stored_body(kBody);
        StoreBatch batch;
        batch.put(Bench::kLane, 1, message, kNoTime, kNoTime);
        store->submit(submitter, batch);
        store->stop();
      }
      if (damaged) {
        const FloorFilter filter;
        auto database = Database::open(temp.path() + "/db", config, filter);
        REQUIRE(database.has_value());
        const Columns& columns = (*database)->columns();
        const std::unique_ptr<rocksdb::Iterator> it(
            columns.db->NewIterator(rocksdb::ReadOptions(), columns.sh));
        it->SeekToFirst();
        rocksdb::WriteOptions synced;
        synced.sync = true;
        REQUIRE(columns.db->Delete(synced, columns.sh, it->key()).ok());
      }
      const auto report = check_data(config);
      REQUIRE(report.has_value());
      CHECK(report->entries == 1);
      CHECK(report->is_sound() != damaged);
    }
  }
}

}  // namespace harrier
