#include "storage/check_data.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "store_support.h"

namespace harrier {

namespace {

namespace fs = std::filesystem;

constexpr LaneId kLane{3};
constexpr LaneId kOther{4};

// A store with tables of several epochs: 100 messages of 5000 octets in each of two lanes, the
// first ten settled. A second run added five to each, settled one, and was killed.
struct Site {
  Site() {
    first.put_record("queue/a", "one");
    run(1, 100)->stop();
    first.settle(kLane, 50, {1, 5000});
    run(101, 105);
  }

  std::unique_ptr<Store> run(Sequence from, Sequence to) {
    test::Durability durability;
    auto store = test::open_store(config);
    test::read_all(*store, {kLane, kOther});
    const SubmitterId submitter = store->add_submitter(durability.listener());
    for (StoreBatch batch = std::exchange(first, {}); from <= to; ++from) {
      for (const LaneId lane : {kLane, kOther}) {
        batch.put(lane, from, test::text_message(std::string(5000, 'x')), kNoTime, kNoTime);
        if (from == 20) batch.settle_range(lane, 1, 11, {10, 50'000});
      }
      if (from % 5 != 0) continue;
      batch.want_sync();
      durability.await(store->submit(submitter, batch));
    }
    return store;
  }

  DataReport check() const {
    const auto report = check_data(config);
    REQUIRE(report.has_value());
    return *report;
  }

  // Names, sizes and times of all files.
  std::map<std::string, std::pair<std::uintmax_t, fs::file_time_type>> files() const {
    std::map<std::string, std::pair<std::uintmax_t, fs::file_time_type>> found;
    for (const auto& file : fs::recursive_directory_iterator(temp.path())) {
      if (!file.is_regular_file()) continue;
      found[file.path()] = {file.file_size(), file.last_write_time()};
    }
    return found;
  }

  // The table files of at least `bytes`: those with messages.
  std::vector<fs::path> tables(std::uintmax_t bytes) const {
    std::vector<fs::path> found;
    for (const auto& file : fs::directory_iterator(temp.path() + "/db")) {
      if (file.path().extension() == ".sst" && file.file_size() >= bytes)
        found.push_back(file.path());
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  test::TempDir temp;
  StoreConfig config = test::small_epochs(temp.path());
  StoreBatch first;  // what the next run begins with
};

void flip(const fs::path& path, std::uintmax_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const char octet = static_cast<char>(file.get());
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(static_cast<char>(octet ^ 4));
}

bool any_contains(const std::vector<std::string>& lines, std::string_view part) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return line.find(part) != std::string::npos; });
}

}  // namespace

TEST_SUITE("check data") {
  TEST_CASE("a sound store is counted and left as it is") {
    Site site;
    const auto before = site.files();
    const DataReport report = site.check();
    CAPTURE(to_text(report));
    CHECK(report.is_sound());
    CHECK(report.notes.empty());
    CHECK(report.definitions == 1);
    CHECK(report.lanes == 2);
    CHECK(report.entries == 189);
    CHECK(report.bytes > 189 * 5000);
    CHECK(report.epochs > 3);
    CHECK(report.ack_records == 1);
    CHECK(to_text(report).ends_with("The data is sound.\n"));
    CHECK(site.files() == before);
    test::open_store(site.config)->stop();
    CHECK(site.check().is_sound());
  }

  TEST_CASE("damaged messages are named with file, lane and sequences, the others counted") {
    for (const double place : {0.1, 0.5}) {
      CAPTURE(place);
      Site site;
      const std::vector<fs::path> tables = site.tables(100'000);
      REQUIRE(tables.size() > 2);
      const fs::path& table = tables[tables.size() / 2];
      flip(table, static_cast<std::uintmax_t>(place * static_cast<double>(fs::file_size(table))));
      const DataReport report = site.check();
      CAPTURE(to_text(report));
      CHECK_FALSE(report.is_sound());
      CHECK(any_contains(report.damage, table.filename().native()));
      CHECK(any_contains(report.damage, "lane 3 "));
      CHECK(report.entries < 189);
      CHECK(report.entries >= 120);
      CHECK(to_text(report).ends_with("The data is damaged.\n"));
    }
  }

  TEST_CASE("a damaged log is named, and the rest is read") {
    Site site;
    fs::path log;
    for (const auto& file : fs::directory_iterator(site.temp.path() + "/db")) {
      if (file.path().extension() == ".log" && file.file_size() > 0)
        log = std::max(log, file.path());
    }
    REQUIRE_FALSE(log.empty());
    flip(log, fs::file_size(log) / 2);
    const auto before = site.files();
    const DataReport report = site.check();
    CAPTURE(to_text(report));
    CHECK(any_contains(report.damage, log.filename().native() + " is damaged at octet"));
    CHECK(report.entries >= 179);
    CHECK(site.files() == before);
  }

  TEST_CASE("a table file that is gone makes the store unreadable, which is damage") {
    Site site;
    fs::remove(site.tables(100'000).front());
    const DataReport report = site.check();
    CHECK_FALSE(report.is_sound());
  }

  TEST_CASE("a store in use is not looked at, and none is made where there is none") {
    Site site;
    const auto store = test::open_store(site.config);
    const auto in_use = check_data(site.config);
    REQUIRE_FALSE(in_use.has_value());
    CHECK(in_use.error().kind == StoreError::Kind::locked);
    StoreConfig nowhere;
    nowhere.data_dir = site.temp.path() + "/nowhere";
    const auto none = check_data(nowhere);
    REQUIRE_FALSE(none.has_value());
    CHECK(none.error().kind == StoreError::Kind::unusable);
    CHECK_FALSE(fs::exists(nowhere.data_dir));
  }

  TEST_CASE("a directory without a lock, as a copy is, gets none") {
    Site site;
    fs::remove(site.temp.path() + "/harrier.lock");
    const auto before = site.files();
    CHECK(site.check().is_sound());
    CHECK(site.files() == before);
  }

  TEST_CASE("a lane whose counters are not what can be read is named") {
    struct Row {
      const char* name;
      Tally settled;  // what the settle of one message of 5000 octets claims
      const char* told;
    };

    for (const Row& row : {
             Row{"counts too low", {1000, 1'000'000}, "counts 5 messages of 25000 octets"},
             Row{"counts too high", {}, "counts 99 messages of 495000 octets"},
             Row{"octets too high", {1, 0}, "counts 98 messages of 495000 octets"},
         }) {
      CAPTURE(row.name);
      Site site;
      site.first.settle(kLane, 60, row.settled);
      site.run(106, 110)->stop();
      const DataReport report = site.check();
      CAPTURE(to_text(report));
      REQUIRE(report.damage.size() == 1);
      CHECK(report.damage[0] ==
            std::string("lane 3 ") + row.told + ", 98 messages of 490000 octets are there");
    }
  }
}

}  // namespace harrier
