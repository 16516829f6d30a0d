#include "storage/lane_page.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/metadata.h>

#include "writer_bench.h"

namespace harrier {

namespace {

using test::sequences_in;
using test::text_message;
using Bench = test::WriterBench;
using Sequences = std::vector<Sequence>;

constexpr LaneId kLane = Bench::kLane;

Sequences from_to(Sequence first, Sequence last) {
  Sequences all(last - first + 1);
  std::iota(all.begin(), all.end(), first);
  return all;
}

PageRequest request(Sequence from, Sequence end, std::size_t bytes_max = 1 << 20) {
  return {.lane = kLane, .from = from, .end = end, .bytes_max = bytes_max};
}

// Flips a bit in the middle of the block of `seq`.
void damage_block(const Bench& bench, Sequence seq) {
  const Columns& columns = bench.database->columns();
  const std::unique_ptr<rocksdb::Iterator> it(
      columns.db->NewIterator(rocksdb::ReadOptions(), columns.msg));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    if (decode_block_key(it->key().ToStringView())->last_seq >= seq) break;
  }
  REQUIRE(it->Valid());
  std::string bad = it->value().ToString();
  bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 16);
  REQUIRE(columns.db->Put(rocksdb::WriteOptions(), columns.msg, it->key(), bad).ok());
}

std::vector<rocksdb::LiveFileMetaData> block_files(const Bench& bench) {
  std::vector<rocksdb::LiveFileMetaData> files;
  bench.database->columns().db->GetLiveFilesMetaData(&files);
  std::erase_if(files, [](const auto& file) { return file.column_family_name != "msg"; });
  return files;
}

// Ends the memtable and the moves of its files.
void move_below_level_0(const Bench& bench) {
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

bool plain_scan_ends_well(const Bench& bench) {
  const Columns& columns = bench.database->columns();
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(columns.db->NewIterator(options, columns.msg));
  it->SeekToFirst();
  while (it->Valid())
    it->Next();
  return it->status().ok();
}

// Puts octets at the begin of a file, and returns what was there.
std::string overwrite(const std::string& path, const std::string& octets) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  std::string before(octets.size(), '\0');
  file.read(before.data(), static_cast<std::streamsize>(before.size()));
  file.seekp(0);
  file.write(octets.data(), static_cast<std::streamsize>(octets.size()));
  REQUIRE(file.good());
  return before;
}

}  // namespace

TEST_SUITE("lane page") {
  TEST_CASE("a page has the unsettled entries of its range") {
    Bench bench;
    for (Sequence seq = 1; seq <= 20; ++seq)
      bench.put(seq);
    bench.accounts.put(bench.batch, LaneId{4}, 1, text_message("another lane"));
    bench.write();
    for (const Sequence seq : {1U, 2U, 7U, 12U, 20U})
      bench.settle(seq);
    bench.put(21);
    bench.write();

    struct Row {
      const char* name;
      Sequence from, end;
      Sequences found;
    };

    for (const Row& row : {
             Row{"all", 1, 100, {3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 21}},
             Row{"from zero", 0, 5, {3, 4}},
             Row{"below the floor", 1, 3, {}},
             Row{"within a block", 8, 10, {8, 9}},
             Row{"from a settled entry", 7, 9, {8}},
             Row{"a settled entry alone", 12, 13, {}},
             Row{"over two commits", 19, 22, {19, 21}},
             Row{"behind the end", 22, 30, {}},
         }) {
      CAPTURE(row.name);
      const LanePage page = bench.page(request(row.from, row.end));
      CHECK(sequences_in(page) == row.found);
      CHECK(page.next == row.end);
      CHECK_FALSE(page.damage.has_value());
    }
  }

  TEST_CASE("a page ends with the entry that fills it, and the next goes on there") {
    Bench bench(Bench::kSmallEpochs);
    for (Sequence seq = 1; seq <= 600; ++seq) {
      bench.put(seq, std::string(1000, 'x'));
      if (seq % 7 == 0) bench.write();
    }
    bench.write();
    CHECK(bench.lane().runs.size() > 2);
    const std::size_t footprint = text_message(std::string(1000, 'x'))->footprint();
    Sequences all;
    for (Sequence next = 1; next < 601;) {
      const LanePage page = bench.page(request(next, 601, 10 * footprint));
      CHECK(page.entries.size() == 10);
      for (const Sequence seq : sequences_in(page))
        all.push_back(seq);
      REQUIRE(page.next > next);
      next = page.next;
    }
    CHECK(all == from_to(1, 600));
  }

  TEST_CASE("one entry comes, however large") {
    Bench bench;
    bench.put(1, std::string(3'000'000, 'x'));
    bench.put(2);
    bench.write();
    const LanePage page = bench.page(request(1, 9, 1));
    CHECK(sequences_in(page) == Sequences{1});
    CHECK(page.next == 2);
  }

  TEST_CASE("what was settled may be deleted between plan and page") {
    Bench bench(Bench::kSmallEpochs);
    for (Sequence seq = 1; seq <= 600; ++seq) {
      bench.put(seq, std::string(1000, 'x'));
      bench.write();
    }
    const PageRequest all = request(1, 601);
    const PagePlan plan = plan_page(&bench.lane(), all);
    bench.settle_below(601);
    bench.write();
    REQUIRE(bench.writer->close().has_value());
    const LanePage page = read_page(bench.database->columns(), bench.run, plan);
    CHECK(page.entries.size() < 600);
    CHECK(page.next == 601);
    CHECK_FALSE(page.damage.has_value());
  }

  // RocksDB's iterators pass over such a file when they come to it from the one before.
  TEST_CASE("a table file whose first block cannot be read is damage in every page that needs it") {
    constexpr Sequence kEnd = 1201;
    Bench bench(Bench::kSmallEpochs);
    for (Sequence seq = 1; seq < kEnd; ++seq) {
      bench.put(seq, std::string(1000, 'x'));
      bench.accounts.put(bench.batch, LaneId{4}, seq, text_message("another lane"));
      bench.write();
    }
    move_below_level_0(bench);
    const std::vector<rocksdb::LiveFileMetaData> files = block_files(bench);
    REQUIRE(files.size() > 3);
    int passed_over = 0;
    for (const rocksdb::LiveFileMetaData& file : files) {
      const std::string path = file.db_path + file.name;
      CAPTURE(path);
      REQUIRE(file.level > 0);
      const std::string intact = overwrite(path, std::string(200, '\xff'));
      passed_over += plain_scan_ends_well(bench) ? 1 : 0;
      const Epoch epoch = *decode_leading_epoch(file.smallestkey);
      const LaneRun& run = *std::ranges::find(bench.lane().runs, epoch, &LaneRun::epoch);
      // From the first message of all, from the end of the file before, from within the block.
      for (const Sequence from : {Sequence{1}, run.first_seq - std::min<Sequence>(run.first_seq, 2),
                                  run.first_seq, run.first_seq + 3}) {
        CAPTURE(from);
        const LanePage page = bench.page(request(from, kEnd, 1 << 30));
        REQUIRE(page.damage.has_value());
        CHECK(page.damage->kind == StoreError::Kind::corruption);
        CHECK(page.damage->detail.ends_with(kDamageMend));
        CHECK(page.next == std::max({from, run.first_seq, Sequence{1}}));
        CHECK(sequences_in(page) == (from < run.first_seq
                                         ? from_to(std::max<Sequence>(from, 1), run.first_seq - 1)
                                         : Sequences{}));
        const LanePage accepted = bench.accepting_page(request(from, kEnd, 1 << 30));
        CHECK_FALSE(accepted.damage.has_value());
        CHECK(accepted.next == kEnd);
        // A block of the table, about 64 KiB, and of one file alone.
        const Sequences read = sequences_in(accepted);
        CHECK(read.size() < kEnd - from);
        CHECK(read.size() > kEnd - from - 100);
        CHECK(read.back() == kEnd - 1);
      }
      overwrite(path, intact);
    }
    CHECK(passed_over > 0);  // otherwise this damage is none that pages have to fear
    CHECK(sequences_in(bench.page(request(1, kEnd, 1 << 30))) == from_to(1, kEnd - 1));
  }

  TEST_CASE("a lane that is dropped or unknown gives an empty page") {
    Bench bench;
    bench.put(1);
    bench.write();
    bench.batch.drop_lane(kLane);
    bench.write();
    for (const LaneId lane : {kLane, LaneId{77}}) {
      const LanePage page = bench.page({.lane = lane, .from = 1, .end = 5});
      CHECK(page.entries.empty());
      CHECK(page.next == 5);
    }
  }

  TEST_CASE("transient entries come back in the run that wrote them") {
    Bench bench;
    bench.put(1);
    bench.accounts.put(bench.batch, kLane, 2, test::transient_message("two"));
    bench.put(3);
    bench.accounts.put(bench.batch, kLane, 4, test::transient_message("four"));
    bench.write();
    CHECK(sequences_in(bench.page(request(1, 9))) == from_to(1, 4));
    CHECK(bench.stored(kLane) == Sequences{1, 3});
    bench.reopen();
    bench.accounts.put(bench.batch, kLane, 5, test::transient_message("five"));
    bench.write();
    CHECK(sequences_in(bench.page(request(1, 9))) == Sequences{1, 3, 5});
  }

  TEST_CASE("a page ends in front of damage and says where it is") {
    Bench bench;
    for (Sequence seq = 1; seq <= 15; ++seq) {
      bench.put(seq);
      if (seq % 5 == 0) bench.write();
    }
    damage_block(bench, 8);
    LanePage page = bench.page(request(3, 16));
    CHECK(sequences_in(page) == from_to(3, 5));
    CHECK(page.next == 6);
    REQUIRE(page.damage.has_value());
    CHECK(page.damage->kind == StoreError::Kind::corruption);
    CHECK(page.damage->detail.find("messages 6 to 10 of lane 3") == 0);
    CHECK(page.damage->detail.find("00000003000000000000000a") != std::string::npos);
    CHECK(page.damage->detail.ends_with(kDamageMend));

    page = bench.page(request(8, 16));
    CHECK(page.entries.empty());
    CHECK(page.next == 8);
    CHECK(page.damage.has_value());

    SUBCASE("where data loss is accepted the page goes on behind it") {
      page = bench.accepting_page(request(3, 16));
      CHECK(sequences_in(page) == Sequences{3, 4, 5, 11, 12, 13, 14, 15});
      CHECK(page.next == 16);
      CHECK_FALSE(page.damage.has_value());
      page = bench.accepting_page(request(7, 9));
      CHECK(page.entries.empty());
      CHECK(page.next == 9);
    }
    SUBCASE("what lies behind can be read") {
      page = bench.page(request(11, 16));
      CHECK(sequences_in(page) == from_to(11, 15));
      CHECK_FALSE(page.damage.has_value());
    }
    SUBCASE("nothing is lost when all of the block is settled") {
      for (Sequence seq = 6; seq <= 10; ++seq)
        bench.settle(seq);
      bench.write();
      page = bench.page(request(5, 12));
      CHECK(sequences_in(page) == Sequences{5, 11});
      CHECK_FALSE(page.damage.has_value());
    }
  }

  TEST_CASE("only the run of the lane that the page overlaps is planned") {
    Bench bench(Bench::kSmallEpochs);
    for (Sequence seq = 1; seq <= 600; ++seq) {
      bench.put(seq, std::string(1000, 'x'));
      bench.write();
    }
    const LaneState& lane = bench.lane();
    REQUIRE(lane.runs.size() > 2);
    const LaneRun& second = lane.runs[1];
    CHECK(plan_page(&lane, request(second.first_seq, second.last_seq + 1)).epochs ==
          std::vector<PageEpoch>{{second.epoch, second.last_seq}});
    CHECK(plan_page(&lane, request(second.first_seq - 1, second.last_seq)).epochs.size() == 2);
    CHECK(plan_page(&lane, request(601, 700)).epochs.empty());
  }
}

TEST_SUITE("store pages") {
  // A queue with its own thread: appends at the tail, reads the head back, settles what it read.
  void run_queue(Store & store, SubmitterId submitter, LaneId lane, std::uint64_t rounds,
                 std::atomic<int> & wrong) {
    test::Accounts accounts;
    Sequence tail = 1;
    Sequence head = 1;
    for (std::uint64_t round = 0; round < rounds; ++round) {
      StoreBatch batch;
      for (int i = 0; i < 20; ++i, ++tail) {
        accounts.put(batch, lane, tail, text_message(std::string(100 + tail % 900, 'x')));
      }
      store.submit(submitter, batch);
      const LanePage page = test::read_page(
          store,
          {.lane = lane, .from = head, .end = tail, .bytes_max = 10'000 + round % 3 * 10'000});
      const bool is_right =
          !page.damage && page.next > head && sequences_in(page) == from_to(head, page.next - 1);
      if (!is_right) ++wrong;
      StoreBatch settled;
      accounts.settle_range(settled, lane, head, page.next);
      if (round % 16 == 0) settled.want_sync();
      head = page.next;
      store.submit(submitter, settled);
    }
  }

  TEST_CASE("pages read while other threads write and settle are what was submitted before") {
    const test::TempDir temp;
    const auto store = test::open_store(test::small_epochs(temp.path()));
    REQUIRE(store->recover_lanes({}).has_value());
    std::vector<SubmitterId> submitters(3);
    for (SubmitterId& submitter : submitters)
      submitter = store->add_submitter({});
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads(3);
    for (std::uint32_t i = 0; i < 3; ++i) {
      threads[i] = std::thread([&, i] { run_queue(*store, submitters[i], LaneId{i}, 200, wrong); });
    }
    for (std::thread& thread : threads)
      thread.join();
    CHECK(wrong.load() == 0);
    store->stop();
  }

  TEST_CASE("a store may stop or go while pages are asked for") {
    for (const bool clean : {true, false}) {
      const test::TempDir temp;
      auto store = test::open_store(test::small_epochs(temp.path()));
      REQUIRE(store->recover_lanes({kLane}).has_value());
      const SubmitterId submitter = store->add_submitter({});
      StoreBatch batch;
      for (Sequence seq = 1; seq <= 500; ++seq)
        batch.put(kLane, seq, text_message(std::string(1000, 'x')), kNoTime, kNoTime);
      store->submit(submitter, batch);
      std::atomic<bool> gone{false};
      std::atomic<int> late{0};
      for (int i = 0; i < 50; ++i) {
        store->read(request(1, 501), [&](LanePage&&) { late += gone.load() ? 1 : 0; });
      }
      if (clean) {
        store->stop();
        gone.store(true);
        store->read(request(1, 501), [&](LanePage&&) { ++late; });
      }
      store.reset();
      gone.store(true);
      CHECK(late.load() == 0);
    }
  }
}

}  // namespace harrier
