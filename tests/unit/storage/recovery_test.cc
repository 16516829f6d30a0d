// What a start does about what it cannot read.
#include "storage/recovery.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/metadata.h>

#include "writer_bench.h"

namespace harrier {

namespace {

using test::sequences_in;
using Bench = test::WriterBench;
using Sequences = std::vector<Sequence>;

constexpr LaneId kLane = Bench::kLane;
constexpr LaneId kOther{4};
constexpr Sequence kLast = 400;

// A store that was killed: two lanes, some epochs, the first 100 messages and 301 to 310 settled.
struct Site {
  Site() {
    for (Sequence seq = 1; seq <= kLast; ++seq) {
      for (const LaneId lane : {kLane, kOther}) {
        bench.accounts.put(bench.batch, lane, seq, test::text_message(std::string(1000, 'x')));
        if (seq % 2 == 0 && seq <= 200) bench.settle(seq / 2, lane);
        if (seq == 350) bench.accounts.settle_range(bench.batch, lane, 301, 311);
      }
      if (seq % 5 == 0) bench.write();
    }
    bench.batch.put_record("queue", "definition");
    bench.write();
    REQUIRE(bench.writer->sync().has_value());
    bench.writer.reset();
  }

  const Columns& columns() const { return bench.database->columns(); }

  // Flips a bit in the value of the first or last key that starts with `prefix`.
  std::string damage(rocksdb::ColumnFamilyHandle* column, const std::string& prefix, bool last) {
    const std::unique_ptr<rocksdb::Iterator> it(
        columns().db->NewIterator(rocksdb::ReadOptions(), column));
    if (last) {
      it->SeekForPrev(prefix + std::string(16, '\xff'));
    } else {
      it->Seek(prefix);
    }
    REQUIRE(it->Valid());
    std::string bad = it->value().ToString();
    bad[0] = static_cast<char>(bad[0] ^ 16);
    const std::string key = it->key().ToString();
    REQUIRE(columns().db->Put(rocksdb::WriteOptions(), column, key, bad).ok());
    return key;
  }

  // Writes `column` to table files below level 0 and spoils the last one, or the largest.
  void spoil_table(rocksdb::ColumnFamilyHandle* column, bool largest = false) {
    REQUIRE(columns().db->Flush(rocksdb::FlushOptions(), column).ok());
    std::vector<rocksdb::LiveFileMetaData> files = files_of(column);
    for (const rocksdb::LiveFileMetaData& file : files) {
      const rocksdb::Slice begin(file.smallestkey);
      const rocksdb::Slice end(file.largestkey);
      REQUIRE(columns().db->CompactRange({}, column, &begin, &end).ok());
    }
    files = files_of(column);
    const auto by = [&](const rocksdb::LiveFileMetaData& one,
                        const rocksdb::LiveFileMetaData& two) {
      return largest ? one.size < two.size : one.smallestkey < two.smallestkey;
    };
    const auto spoilt = std::max_element(files.begin(), files.end(), by);
    REQUIRE(spoilt != files.end());
    REQUIRE(spoilt->level > 0);
    std::fstream file(spoilt->db_path + spoilt->name,
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(10);  // within the first block, however small the file is
    file << "spoilt";
    REQUIRE(file.good());
    file.close();
    bench.database.reset();  // with what it has in memory of the file
    auto opened = Database::open(bench.temp.path() + "/db", bench.config, bench.filter);
    REQUIRE(opened.has_value());
    bench.database = *std::move(opened);
  }

  std::vector<rocksdb::LiveFileMetaData> files_of(rocksdb::ColumnFamilyHandle* column) const {
    std::vector<rocksdb::LiveFileMetaData> files;
    columns().db->GetLiveFilesMetaData(&files);
    std::erase_if(files, [&](const rocksdb::LiveFileMetaData& file) {
      return file.column_family_name != column->GetName();
    });
    return files;
  }

  std::string refusal() const {
    const auto refused = recover(columns());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == StoreError::Kind::corruption);
    CHECK(refused.error().detail.find('\n') == std::string::npos);
    CHECK(refused.error().detail.ends_with(kDamageMend));
    return refused.error().detail;
  }

  // Recovers with losses, as the store does, and then without.
  RecoveredStore accept() {
    auto accepted = recover(columns(), OnDamage::accept);
    REQUIRE(accepted.has_value());
    CHECK_FALSE(accepted->clean);
    if (accepted->snapshots_unreadable) REQUIRE(bench.database->renew_snapshots().has_value());
    check(*accepted);
    auto next = recover(columns());  // the process is killed at once
    if (!next) MESSAGE(next.error().detail);
    REQUIRE(next.has_value());
    check(*next);
    for (const LaneId lane : {kLane, kOther})
      CHECK(read(*next, lane) == read(*accepted, lane));
    return *std::move(next);
  }

  // The counters are those of the messages, which can all be read.
  void check(const RecoveredStore& store) {
    CHECK(store.lanes.check_invariants());
    for (const LaneId id : {kLane, kOther}) {
      CAPTURE(id.value);
      const LaneState& lane = *store.lanes.find(id);
      CHECK(lane.tally.entries == read(store, id).size());
      CHECK(lane.tally.bytes == 1000 * lane.tally.entries);
      CHECK(lane.next_seq > kLast);
    }
  }

  Sequences read(const RecoveredStore& store, LaneId id) const {
    const LanePage page =
        read_page(columns(), store.first_run,
                  plan_page(store.lanes.find(id),
                            {.lane = id, .from = 1, .end = kLast + 1, .bytes_max = 1 << 30}));
    CHECK_FALSE(page.damage.has_value());
    CHECK(page.next == kLast + 1);
    return sequences_in(page);
  }

  Bench bench{Bench::kSmallEpochs};
};

Sequences left() {
  Sequences all;
  for (Sequence seq = 101; seq <= kLast; ++seq) {
    if (seq < 301 || seq > 310) all.push_back(seq);
  }
  return all;
}

bool contains_all(const Sequences& found, const Sequences& wanted) {
  return std::includes(found.begin(), found.end(), wanted.begin(), wanted.end());
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string lane_prefix(LaneId lane) {
  return std::string(encode(lane).view());
}

}  // namespace

TEST_SUITE("recovery from damage") {
  TEST_CASE("nothing is damaged, nothing is lost") {
    Site site;
    auto store = recover(site.columns(), OnDamage::accept);
    REQUIRE(store.has_value());
    site.check(*store);
    CHECK(site.read(*store, kLane) == left());
  }

  TEST_CASE("what a damaged ack record settled comes again, no message is lost") {
    Site site;
    const std::string key = site.damage(site.columns().ack, "", true);
    const std::string text = site.refusal();
    CHECK(has(text, "an ack record of epoch "));
    CHECK(has(text, to_hex(key)));
    const RecoveredStore store = site.accept();
    CHECK(contains_all(site.read(store, kLane), left()));
    CHECK(contains_all(site.read(store, kOther), left()));
  }

  TEST_CASE("a lane whose snapshot is damaged is rebuilt from its blocks") {
    Site site;
    site.damage(site.columns().qs, lane_prefix(kLane), false);
    CHECK(has(site.refusal(), "the snapshot of lane 3 is damaged"));
    const RecoveredStore store = site.accept();
    CHECK(contains_all(site.read(store, kLane), left()));
    CHECK(site.read(store, kOther) == left());
  }

  TEST_CASE("a damaged block costs its own messages only") {
    Site site;
    const std::string key = site.damage(site.columns().msg, "", true);
    const Sequence last = decode_block_key(key)->last_seq;
    const LaneId lane = decode_block_key(key)->lane;
    REQUIRE(last == kLast);
    const std::string text = site.refusal();
    CHECK(
        has(text, "messages 396 to 400 of lane " + std::to_string(lane.value) + " cannot be read"));
    CHECK(has(text, to_hex(key)));
    const RecoveredStore store = site.accept();
    Sequences expected = left();
    CHECK(site.read(store, lane == kLane ? kOther : kLane) == expected);
    expected.resize(expected.size() - 5);
    CHECK(site.read(store, lane) == expected);
  }

  TEST_CASE("a damaged note costs no message") {
    for (const std::string_view note : {kRunKey, kCleanStopKey, kCheckpointKey}) {
      CAPTURE(note);
      Site site;
      const std::uint64_t run = site.bench.run;
      REQUIRE(site.columns()
                  .db->Put(rocksdb::WriteOptions(), site.columns().meta, std::string(note), "bad")
                  .ok());
      CHECK(has(site.refusal(), "the store's note " + std::string(note) + " is damaged"));
      const RecoveredStore store = site.accept();
      CHECK(site.read(store, kLane) == left());
      CHECK(site.read(store, kOther) == left());
      CHECK(store.run > run);
    }
  }

  TEST_CASE(
      "tables of blocks, ack records or snapshots that cannot be read cost what was in them") {
    for (const char* family : {"msg", "ack", "qs"}) {
      const std::string name = family;
      CAPTURE(name);
      Site site;
      const Columns columns = site.columns();
      site.spoil_table(name == "msg"   ? columns.msg
                       : name == "ack" ? columns.ack
                                       : columns.qs,
                       name == "msg");
      if (name == "msg") {
        site.damage(site.columns().qs, lane_prefix(kLane),
                    false);  // or old files are not looked at
      } else {
        site.refusal();
      }
      const RecoveredStore store = site.accept();
      const Sequences found = site.read(store, kLane);
      if (name == "msg") {
        CHECK(found.size() > left().size() - 80);  // 64 KiB of both lanes
      } else {
        CHECK(contains_all(found, left()));
      }
    }
  }

  TEST_CASE("a store goes on after losses, and starts again without the flag") {
    Site site;
    site.damage(site.columns().qs, lane_prefix(kLane), false);
    site.spoil_table(site.columns().qs);
    site.bench.database.reset();
    StoreConfig config = site.bench.config;
    config.data_dir = site.bench.temp.path();
    std::ofstream(config.data_dir + "/store.format") << "harrier store\nformat 1\nmin_reader 1\n";
    CHECK_FALSE(open_rocks_store(config).has_value());
    config.accept_data_loss = true;
    for (int start = 0; start < 12; ++start) {
      CAPTURE(start);
      test::Durability durability;
      const auto store = test::open_store(config);
      config.accept_data_loss = false;
      const test::Content content = test::read_all(*store, {kLane, kOther});
      CHECK(content.records.at("queue") == "definition");
      for (const LaneId lane : {kLane, kOther})
        CHECK(contains_all(content.sequences(lane), left()));
      const SubmitterId submitter = store->add_submitter(durability.listener());
      StoreBatch batch;
      Sequence next = content.next_seq.at(kLane.value);
      for (int i = 0; i < 300; ++i)
        batch.put(kLane, next++, test::text_message(std::string(1000, 'y')), kNoTime, kNoTime);
      batch.want_sync();
      const Ticket last = store->submit(submitter, batch);
      durability.await(last);
      CHECK(durability.durable() == last);
      if (start % 2 == 0) store->stop();
    }
  }
}

}  // namespace harrier
