#include "storage/rocks_store.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <doctest/doctest.h>

#include "store_support.h"

namespace harrier {

namespace {

using test::Content;
using test::Durability;
using test::TempDir;
using test::text_message;

constexpr LaneId kLane{3};
constexpr LaneId kOther{4};

// A broker's use of the store: open, work, stop or be killed, open again.
struct Life {
  Content open(std::vector<LaneId> live = {kLane, kOther}) {
    durability = std::make_unique<Durability>();
    store = test::open_store(config);
    Content found = test::read_all(*store, live);
    submitter = store->add_submitter(durability->listener());
    return found;
  }

  void commit() {
    batch.want_sync();
    durability->await(store->submit(submitter, batch));
    CHECK(durability->failures() == 0);
  }

  void put(Sequence seq, LaneId lane = kLane) {
    accounts.put(batch, lane, seq, text_message("body " + std::to_string(seq)));
  }

  void settle(Sequence seq, LaneId lane = kLane) { accounts.settle(batch, lane, seq); }

  void settle_below(Sequence end) { accounts.settle_range(batch, kLane, 1, end); }

  void stop() {
    store->stop();
    store.reset();
  }

  void kill() { store.reset(); }

  TempDir temp;
  StoreConfig config = test::small_epochs(temp.path());
  std::unique_ptr<Durability> durability;
  std::unique_ptr<Store> store;
  SubmitterId submitter;
  test::Accounts accounts;
  StoreBatch batch;
};

bool any_redelivered(const Content& content, LaneId lane) {
  for (const auto& [place, entry] : content.entries) {
    if (place.first == lane.value && entry.redelivered) return true;
  }
  return false;
}

}  // namespace

TEST_SUITE("rocks store") {
  TEST_CASE("a new store is empty and its lanes start at 1") {
    Life life;
    const Content found = life.open();
    CHECK(found.records.empty());
    CHECK(found.entries.empty());
    CHECK(found.next_seq.at(kLane.value) == 1);
  }

  TEST_CASE("what is durable is there again, after a stop and after a kill") {
    for (const bool clean : {true, false}) {
      CAPTURE(clean);
      Life life;
      life.open();
      life.batch.put_record("queue/a", "one");
      life.batch.put_record("queue/b", "two");
      life.batch.put_record("exchange/c", "three");
      for (Sequence seq = 1; seq <= 5; ++seq)
        life.put(seq);
      life.commit();
      life.batch.delete_record("queue/b");
      life.settle(2);
      life.commit();
      clean ? life.stop() : life.kill();
      const Content found = life.open();
      CHECK(found.records ==
            std::map<std::string, std::string>{{"exchange/c", "three"}, {"queue/a", "one"}});
      CHECK(found.sequences(kLane) == std::vector<Sequence>{1, 3, 4, 5});
      CHECK(found.next_seq.at(kLane.value) == 6);
    }
  }

  TEST_CASE("records are scanned by prefix in key order") {
    Life life;
    life.open();
    for (const char* key : {"q/b", "q/a", "r", "q", "p/z"})
      life.batch.put_record(key, key);
    life.commit();
    std::string seen;
    CHECK(life.store
              ->scan_records("q/", [&](std::string_view key,
                                       std::string_view) { seen += std::string(key) + " "; })
              .has_value());
    CHECK(seen == "q/a q/b ");
  }

  TEST_CASE("sequences of settled entries are never given out again") {
    for (const bool clean : {true, false}) {
      CAPTURE(clean);
      Life life;
      life.open();
      life.put(1);
      life.put(2);
      life.commit();
      life.settle_below(3);
      life.settle(9);                          // was never put
      life.batch.delivered_below(kOther, 42);  // nothing was ever stored here
      life.commit();
      clean ? life.stop() : life.kill();
      Content found = life.open();
      CHECK(found.entries.empty());
      CHECK(found.next_seq.at(kLane.value) == 10);
      CHECK(found.next_seq.at(kOther.value) == 42);
      // A message born now must not be taken for a settled one.
      life.put(10);
      life.commit();
      life.kill();
      found = life.open();
      CHECK(found.sequences(kLane) == std::vector<Sequence>{10});
    }
  }

  TEST_CASE("a crash after entries vanished unwritten loses no message born later") {
    Life life;
    life.open();
    for (int round = 0; round < 5; ++round) {
      Sequence seq = life.store == nullptr ? 1 : 0;
      life.kill();
      const Content before = life.open();
      seq = before.next_seq.at(kLane.value);
      for (int i = 0; i < 3; ++i) {
        life.put(seq);
        life.settle(seq++);
      }
      life.commit();
      life.put(seq);
      if (round % 2 == 0) life.settle(seq - 1);
      life.commit();
      life.kill();
      const Content after = life.open();
      CHECK(after.sequences(kLane).size() == static_cast<std::size_t>(round) + 1);
      CHECK(after.sequences(kLane).back() == seq);
    }
  }

  TEST_CASE("lanes nobody claims are gone, their space too") {
    Life life;
    life.open();
    life.put(1, kLane);
    life.put(1, kOther);
    life.commit();
    life.kill();
    CHECK(life.open({kOther}).sequences(kLane).empty());
    life.kill();
    const Content found = life.open({kLane, kOther});
    CHECK(found.sequences(kLane).empty());
    CHECK(found.sequences(kOther) == std::vector<Sequence>{1});
  }
}

TEST_SUITE("rocks store redelivered") {
  TEST_CASE("after a clean stop only what was delivered says so") {
    Life life;
    life.open();
    for (Sequence seq = 1; seq <= 4; ++seq)
      life.put(seq);
    life.put(1, kOther);
    life.commit();
    life.batch.delivered_below(kLane, 3);
    life.commit();
    life.stop();
    const Content found = life.open();
    CHECK(found.entries.at({kLane.value, 1}).redelivered);
    CHECK(found.entries.at({kLane.value, 2}).redelivered);
    CHECK_FALSE(found.entries.at({kLane.value, 3}).redelivered);
    CHECK_FALSE(any_redelivered(found, kOther));
  }

  TEST_CASE("after a crash everything may have been delivered, and stays so") {
    Life life;
    life.open();
    life.put(1);
    life.commit();
    life.kill();
    CHECK(life.open().entries.at({kLane.value, 1}).redelivered);
    life.put(2);
    life.commit();
    life.stop();
    const Content found = life.open();
    CHECK(found.entries.at({kLane.value, 1}).redelivered);
    CHECK_FALSE(found.entries.at({kLane.value, 2}).redelivered);
  }

  TEST_CASE("the mark of a clean stop counts for one start") {
    Life life;
    life.open();
    life.put(1);
    life.commit();
    life.stop();
    CHECK_FALSE(any_redelivered(life.open(), kLane));
    life.kill();
    CHECK(any_redelivered(life.open(), kLane));
  }
}

TEST_SUITE("rocks store directory") {
  TEST_CASE("a directory in use is refused") {
    Life life;
    life.open();
    const auto second = open_rocks_store(life.config);
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().kind == StoreError::Kind::locked);
    life.stop();
    CHECK(open_rocks_store(life.config).has_value());
  }

  TEST_CASE("a newer format is refused and nothing is written") {
    Life life;
    life.open();
    life.stop();
    std::ofstream(life.temp.path() + "/store.format") << "harrier store\nformat 2\nmin_reader 2\n";
    const auto content = [&] {
      std::map<std::string, std::filesystem::file_time_type> times;
      for (const auto& file : std::filesystem::directory_iterator(life.temp.path() + "/db")) {
        times[file.path()] = file.last_write_time();
      }
      return times;
    };
    const auto before = content();
    const auto refused = open_rocks_store(life.config);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == StoreError::Kind::newer_format);
    CHECK(content() == before);
  }

  TEST_CASE("a commit whose end is missing in the log is left out whole") {
    Life life;
    life.open();
    life.put(1);
    life.commit();
    life.batch.put_record("key", "value");
    for (Sequence seq = 2; seq <= 40; ++seq)
      life.put(seq);
    life.commit();
    life.kill();
    // The newest log holds both commits.
    std::filesystem::path log;
    for (const auto& file : std::filesystem::directory_iterator(life.temp.path() + "/db")) {
      if (file.path().extension() == ".log" && (log.empty() || log < file.path()))
        log = file.path();
    }
    std::filesystem::resize_file(log, std::filesystem::file_size(log) - 10);
    const Content found = life.open();
    CHECK(found.sequences(kLane) == std::vector<Sequence>{1});
    CHECK(found.records.empty());
  }
}

TEST_SUITE("rocks store copy") {
  TEST_CASE("a copy has what was durable when it was asked for, and is a store of its own") {
    Life life;
    life.open();
    life.batch.put_record("queue/a", "one");
    for (Sequence seq = 1; seq <= 300; ++seq) {
      life.batch.put(kLane, seq, text_message(std::string(3000, 'x')), kNoTime, kNoTime);
      if (seq % 3 == 0) life.commit();
    }
    life.batch.settle_range(kLane, 1, 11, {10, 30'000});
    life.put(1, kOther);
    life.commit();

    const TempDir copies;
    StoreConfig copy = life.config;
    copy.data_dir = copies.path() + "/a/b";
    CHECK(test::copy_store(*life.store, copy.data_dir).empty());
    life.put(301);
    life.batch.settle(kLane, 11, {1, 3000});
    life.commit();
    life.stop();

    const Content copied = test::read_all(*test::open_store(copy), {kLane, kOther});
    CHECK(copied.records.at("queue/a") == "one");
    CHECK(copied.sequences(kLane).size() == 290);
    CHECK(copied.sequences(kLane).front() == 11);
    CHECK(copied.next_seq.at(kLane.value) == 301);
    CHECK(copied.sequences(kOther) == std::vector<Sequence>{1});
    CHECK(life.open().sequences(kLane).size() == 290);
  }

  TEST_CASE("a copy of a store without messages can be started") {
    Life life;
    life.open();
    const TempDir copies;
    StoreConfig copy = life.config;
    copy.data_dir = copies.path();
    CHECK(test::copy_store(*life.store, copy.data_dir).empty());
    CHECK(test::read_all(*test::open_store(copy), {kLane}).entries.empty());
  }

  TEST_CASE("a directory with something in it is refused and left alone") {
    Life life;
    life.open();
    const TempDir copies;
    std::ofstream(copies.path() + "/precious") << "x";
    const std::string why = test::copy_store(*life.store, copies.path());
    CHECK(why.find("is not empty") != std::string::npos);
    CHECK(std::filesystem::exists(copies.path() + "/precious"));
    CHECK(test::copy_store(*life.store, "/proc/nothing") != "");
    life.put(1);
    life.commit();
  }
}

TEST_SUITE("rocks store space") {
  TEST_CASE("settled messages give their space back while the store runs and after a restart") {
    Life life;
    life.open();
    Sequence seq = 0;
    for (int commit = 0; commit < 200; ++commit) {
      for (int i = 0; i < 50; ++i) {
        life.accounts.put(life.batch, kLane, ++seq, text_message(std::string(1000, 'x')));
      }
      life.commit();
    }
    const std::uintmax_t full = life.temp.bytes_of(".sst");
    CHECK(full > 8'000'000);
    life.settle_below(seq + 1);
    life.commit();
    life.stop();
    CHECK(life.open().entries.empty());
    life.stop();
    life.open();
    for (int commit = 0; commit < 20; ++commit) {  // another epoch or two
      for (int i = 0; i < 50; ++i) {
        life.accounts.put(life.batch, kLane, ++seq, text_message(std::string(1000, 'x')));
      }
      life.settle_below(seq + 1);
      life.commit();
      life.put(++seq);
      life.commit();
    }
    life.stop();
    CHECK(life.temp.bytes_of(".sst") < full / 10);
  }
}

}  // namespace harrier
