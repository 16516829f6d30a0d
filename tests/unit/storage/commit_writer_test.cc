#include "storage/commit_writer.h"

#include <string>

#include <doctest/doctest.h>

#include "writer_bench.h"

namespace harrier {

namespace {

using test::text_message;

constexpr LaneId kLane{3};

using Bench = test::WriterBench;

}  // namespace

TEST_SUITE("commit writer") {
  TEST_CASE("entries put and settled in one commit are never written") {
    Bench bench;
    for (Sequence seq = 1; seq <= 4; ++seq)
      bench.put(seq);
    for (Sequence seq = 1; seq <= 4; ++seq)
      bench.settle(seq);
    CHECK(bench.write() == 0);
    CHECK(bench.writer->lanes().find(kLane)->runs.empty());
    CHECK(bench.writer->lanes().find(kLane)->settled.floor() == 5);
  }

  TEST_CASE("what vanished is noted with the next commit that writes") {
    Bench bench;
    bench.put(1);
    bench.settle(1);
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
      bench.settle(seq);
    bench.write();
    CHECK(bench.stored(kLane) == std::vector<Sequence>{1, 4, 5});
    CHECK(bench.writer->lanes().find(kLane)->runs.at(0).entries == 3);
  }

  TEST_CASE("a settle of an earlier commit's entry is written") {
    Bench bench;
    bench.put(1);
    bench.put(2);
    const std::uint64_t unsynced = bench.write();
    bench.settle(1);
    CHECK(bench.write() > unsynced);
    CHECK(bench.stored(kLane) == std::vector<Sequence>{2});
  }

  TEST_CASE("sequences skipped by a put do not hold the floor") {
    Bench bench;
    bench.put(1);
    bench.put(5);
    bench.write();
    bench.settle(1);
    bench.settle(5);
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
    bench.settle_below(4);
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
    bench.settle(1);
    bench.write();
    bench.settle(2);
    bench.write();
    CHECK(bench.writer->lanes().find(kLane) == nullptr);
    CHECK(bench.recovered().lanes.find(kLane) == nullptr);
    CHECK(bench.stored(kLane).empty());
  }

  TEST_CASE("many lanes in one commit keep apart") {
    Bench bench;
    for (Sequence seq = 1; seq <= 50; ++seq) {
      for (std::uint32_t lane = 0; lane < 20; ++lane) {
        bench.accounts.put(bench.batch, LaneId{lane}, seq, text_message("x"));
      }
    }
    bench.settle(1, LaneId{7});
    bench.write();
    for (std::uint32_t lane = 0; lane < 20; ++lane) {
      CHECK(bench.stored(LaneId{lane}).size() == (lane == 7 ? 49 : 50));
    }
  }

  TEST_CASE("epochs come and go, and only files with unsettled entries stay") {
    Bench bench(Bench::kSmallEpochs);
    const std::string body(4000, 'x');
    Sequence seq = 0;
    for (int commit = 0; commit < 400; ++commit) {
      for (int i = 0; i < 8; ++i)
        bench.put(++seq, body);
      bench.write();
      REQUIRE(bench.writer->sync().has_value());
      REQUIRE(bench.writer->tidy(false).has_value());
      if (seq > 80) bench.settle_below(seq - 80);
    }
    // 12.8 MB went through; a few epochs of 170 KB may lie around.
    REQUIRE(bench.writer->close().has_value());
    CHECK(bench.temp.bytes_of(".sst") < 3'000'000);
    CHECK(bench.stored(kLane).size() == 89);
  }

  TEST_CASE("an old entry keeps its own epoch only") {
    Bench bench(Bench::kSmallEpochs);
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
        bench.settle(s);
    }
    bench.write();
    REQUIRE(bench.writer->close().has_value());
    CHECK(bench.temp.bytes_of(".sst") < 3'000'000);
    CHECK(bench.stored(kLane) == std::vector<Sequence>{1});
    CHECK(bench.writer->lanes().find(kLane)->runs.size() == 1);
  }

  TEST_CASE("a message larger than an epoch is stored") {
    Bench bench(Bench::kSmallEpochs);
    bench.put(1, "small");
    bench.write();
    bench.put(2, std::string(3'000'000, 'x'));
    bench.write();
    bench.put(3, "small");
    bench.write();
    CHECK(bench.stored(kLane) == std::vector<Sequence>{1, 2, 3});
  }
}

TEST_SUITE("commit writer tally") {
  TEST_CASE("a lane counts what is stored in it, whatever vanished on the way") {
    Bench bench;
    bench.put(1, "12345");
    bench.put(2, "1");
    bench.put(3, "123");
    bench.settle(2);
    bench.write();
    CHECK(bench.lane().tally == Tally{2, 8});
    bench.settle(1);
    bench.put(4, "1234");
    bench.settle(4);
    bench.write();
    CHECK(bench.lane().tally == Tally{1, 3});
    CHECK(bench.recovered().lanes.find(kLane)->tally == Tally{1, 3});
  }

  TEST_CASE("transient messages do not count") {
    Bench bench;
    bench.accounts.put(bench.batch, kLane, 1, test::transient_message("paged out"));
    bench.put(2, "1234567");
    bench.write();
    CHECK(bench.lane().tally == Tally{1, 7});
    bench.settle_below(3);
    bench.write();
    CHECK(bench.recovered().lanes.find(kLane)->tally == Tally{});
  }

  TEST_CASE("commits in which all vanished leave the count alone") {
    Bench bench;
    bench.put(1, "12345");
    bench.write();
    bench.put(2);
    bench.settle(2);
    const std::uint64_t unsynced = bench.write();
    CHECK(bench.recovered().lanes.find(kLane)->tally == Tally{1, 5});
    bench.settle(1);
    CHECK(bench.write() > unsynced);
    CHECK(bench.recovered().lanes.find(kLane)->tally == Tally{});
  }

  TEST_CASE("more settled than there was stops at zero and harms no message") {
    Bench bench;
    bench.put(1, "12345");
    bench.write();
    bench.batch.settle(kLane, 7, {5, 1000});
    bench.put(8, "123");
    bench.write();
    CHECK(bench.lane().tally == Tally{1, 3});
    CHECK(bench.stored(kLane) == std::vector<Sequence>{1, 8});
  }

  TEST_CASE("the count is right after every epoch and restart") {
    Bench bench(Bench::kSmallEpochs);
    Sequence seq = 0;
    for (int restart = 0; restart < 6; ++restart) {
      for (int commit = 0; commit < 40; ++commit) {
        for (int i = 0; i < 8; ++i) {
          ++seq;
          bench.put(seq, std::string(seq * 37 % 4000, 'x'));
        }
        // The lane changes in some epochs only, another in all of them.
        if (commit % 13 == 0) bench.settle_below(seq - seq / 3);
        bench.accounts.put(bench.batch, LaneId{9}, seq, text_message("other"));
        bench.write();
      }
      CHECK(bench.lane().tally == bench.accounts.left(kLane));
      bench.reopen();
      CHECK(bench.lane().tally == bench.accounts.left(kLane));
      CHECK(bench.lane(LaneId{9}).tally == bench.accounts.left(LaneId{9}));
      CHECK(bench.lane().tally.entries == bench.stored(kLane).size());
    }
  }
}

TEST_SUITE("commit writer after a full disk") {
  TEST_CASE("what is written again and was recovered is left as it is") {
    Bench bench;
    const LaneId dropped{9};
    const auto first = [&] {
      bench.put(1);
      bench.put(2);
      bench.put(3);
      bench.settle(3);
    };
    const auto second = [&] {
      bench.put(4);
      bench.settle(1);
    };
    const auto third = [&] {
      bench.put(6);
      bench.settle(2);
      bench.batch.put(dropped, 1, text_message("body"), kNoTime, kNoTime);
    };
    first();
    bench.write();
    second();
    bench.write();
    bench.writer = std::make_unique<CommitWriter>(*bench.database, bench.filter, bench.recovered(),
                                                  WriterLimits{});
    bench.writer->expect_repeats({{dropped, 1}});
    first();
    second();
    third();
    bench.write();
    CHECK(bench.stored(kLane) == std::vector<Sequence>{4, 6});
    CHECK(bench.stored(dropped).empty());
    CHECK(bench.writer->lanes().find(kLane)->settled.floor() == 4);
    CHECK(bench.writer->lanes().find(kLane)->next_seq == 7);
  }
}

}  // namespace harrier
