#include "storage/log_guard.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <doctest/doctest.h>

#include "store_support.h"

namespace harrier {

namespace {

namespace fs = std::filesystem;

using test::Durability;

constexpr LaneId kLane{3};

std::string read_octets(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_octets(const fs::path& path, const std::string& octets) {
  std::ofstream(path, std::ios::binary) << octets;
}

// A store in the hands of a vandal.
struct Site {
  // One run: a commit each for the next `messages` sequences, all synced; then a kill.
  void run(int messages, std::size_t body_bytes = 100) {
    Durability durability;
    auto store = test::open_store(config);
    test::read_all(*store, {kLane});
    const SubmitterId submitter = store->add_submitter(durability.listener());
    for (; messages > 0; --messages) {
      StoreBatch batch;
      batch.put(kLane, ++last_seq, test::text_message(std::string(body_bytes, 'x')), kNoTime,
                kNoTime);
      batch.want_sync();
      durability.await(store->submit(submitter, batch));
    }
    REQUIRE(durability.failures() == 0);
  }

  // Sequences found; fails the test if the start is refused.
  std::vector<Sequence> found() {
    auto store = test::open_store(config);
    return test::read_all(*store, {kLane}).sequences(kLane);
  }

  bool finds_all() { return found().size() == last_seq; }

  // Why a start is refused.
  std::string refusal() {
    const auto store = open_rocks_store(config);
    REQUIRE_FALSE(store.has_value());
    CHECK(store.error().kind == StoreError::Kind::corruption);
    CHECK(store.error().detail.find('\n') == std::string::npos);
    return store.error().detail;
  }

  std::vector<fs::path> files(std::string_view with) const {
    std::vector<fs::path> paths;
    for (const auto& file : fs::directory_iterator(temp.path() + "/db")) {
      if (file.path().filename().native().find(with) != std::string::npos)
        paths.push_back(file.path());
    }
    std::sort(paths.begin(), paths.end());
    return paths;
  }

  test::TempDir temp;
  StoreConfig config = {.data_dir = temp.path()};
  Sequence last_seq = 0;
};

void flip(const fs::path& path, std::size_t offset) {
  std::string octets = read_octets(path);
  octets.at(offset) = static_cast<char>(octets.at(offset) ^ 0x10);
  write_octets(path, octets);
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("log guard") {
  TEST_CASE("damage to what was synced is refused, with file, place, commits and mend") {
    Site site;
    site.run(10);
    const fs::path log = site.files(".log").back();
    flip(log, fs::file_size(log) / 2);
    const std::string why = site.refusal();
    CAPTURE(why);
    CHECK(contains(why, log.filename().native() + " is damaged at octet "));
    CHECK(contains(why, "of run 1, which had been synced, are lost"));
    CHECK(contains(why, "--accept-data-loss"));
    CHECK(site.refusal() == why);  // nothing was changed
  }

  TEST_CASE("accepted damage is cut off and kept aside, and the store goes on") {
    Site site;
    site.run(10);
    site.run(5);
    const fs::path log = site.files(".log").front();
    flip(log, fs::file_size(log) / 2);
    site.refusal();
    site.config.accept_data_loss = true;
    const std::vector<Sequence> left = site.found();
    CHECK(left.size() >= 3);
    CHECK(left.size() < 8);
    CHECK(site.files(".damaged").size() == 2);
    site.config.accept_data_loss = false;
    CHECK(site.found() == left);
    site.last_seq = left.size();
    site.run(5);
    CHECK(site.finds_all());
  }

  TEST_CASE("a flipped bit in the last synced commit is not taken for an interrupted write") {
    Site site;
    site.run(3);
    const fs::path log = site.files(".log").back();
    flip(log, fs::file_size(log) - 60);
    CHECK(contains(site.refusal(), "is damaged at octet"));
  }

  TEST_CASE("an end that was never written whole is cut off") {
    Site site;
    site.run(3);
    const fs::path log = site.files(".log").back();
    const std::string octets = read_octets(log);
    SUBCASE("garbage") {
      write_octets(log, octets + std::string(500, '\x7b'));
    }
    SUBCASE("zeros") {
      write_octets(log, octets + std::string(70'000, '\0'));
    }
    CHECK(site.finds_all());
    CHECK(site.finds_all());
    site.run(3);
    CHECK(site.finds_all());
  }

  TEST_CASE("a log that is gone is missed: the oldest, one in the middle, the newest, all") {
    for (const int which : {0, 1, 2, 3}) {
      CAPTURE(which);
      Site site;
      for (int run = 0; run < 3; ++run)
        site.run(4);
      const std::vector<fs::path> logs = site.files(".log");
      REQUIRE(logs.size() == 3);
      for (std::size_t i = 0; i < logs.size(); ++i) {
        if (which == 3 || i == static_cast<std::size_t>(which)) fs::remove(logs[i]);
      }
      const std::string missing = logs[which == 3 ? 0 : static_cast<std::size_t>(which)].filename();
      CHECK(contains(site.refusal(), missing + " is missing"));
      site.config.accept_data_loss = true;
      // Nothing is replayed on behind the gap; in front of the oldest there is none to see.
      const std::size_t left[] = {8, 4, 8, 0};
      CHECK(site.found().size() == left[which]);
      site.config.accept_data_loss = false;
      site.found();
    }
  }

  TEST_CASE("a log shorter than it is known to be synced is refused") {
    Site site;
    site.run(4);
    site.run(1);
    const fs::path log = site.files(".log").front();
    const std::string octets = read_octets(log);
    const std::size_t begin_of_last = octets.rfind("amq.direct") - 100;
    write_octets(log, octets.substr(0, begin_of_last));
    CHECK(contains(site.refusal(), log.filename().native()));
  }

  TEST_CASE("small epochs, kills and clean stops leave nothing to complain about") {
    Site site;
    site.config = test::small_epochs(site.temp.path());
    for (int run = 0; run < 10; ++run) {
      site.run(60, 10'000);
      if (run % 3 == 0) test::open_store(site.config)->stop();
      const auto findings = guard_database(Disk(), site.temp.path(), OnDamage::report);
      REQUIRE(findings.has_value());
      CHECK(findings->lost.empty());
      CHECK(findings->notes.empty());
    }
    CHECK(site.finds_all());
  }

  TEST_CASE("a report changes nothing") {
    Site site;
    site.run(10);
    const fs::path log = site.files(".log").back();
    flip(log, fs::file_size(log) / 2);
    const std::string octets = read_octets(log);
    for (int times = 0; times < 2; ++times) {
      const auto findings = guard_database(Disk(), site.temp.path(), OnDamage::report);
      REQUIRE(findings.has_value());
      CHECK(findings->lost.size() == 1);
    }
    CHECK(read_octets(log) == octets);
    CHECK(site.files(".damaged").empty());
  }
}

TEST_SUITE("log guard manifest") {
  TEST_CASE("an interrupted write at the end is cut off, with a copy") {
    for (const std::string& end : {std::string(4096, '\0'), std::string(300, 'g'),
                                   std::string("abcdefghijk") + std::string(4000, '\0')}) {
      Site site;
      site.run(10);
      const fs::path manifest = site.files("MANIFEST").back();
      write_octets(manifest, read_octets(manifest) + end);
      CHECK(site.finds_all());
      CHECK(site.files(".damaged").size() == (end[0] == '\0' ? 0 : 1));
      CHECK(site.finds_all());
    }
  }

  TEST_CASE("damage before intact records is refused") {
    Site site;
    site.run(10);
    const fs::path manifest = site.files("MANIFEST").back();
    flip(manifest, fs::file_size(manifest) / 2);
    const std::string why = site.refusal();
    CHECK(contains(why, manifest.filename().native() + " is damaged at octet"));
  }

  TEST_CASE("losing the end of the MANIFEST behind a flush is refused, for the log is gone") {
    Site site;
    site.config = test::small_epochs(site.temp.path());
    site.run(60, 10'000);
    test::open_store(site.config)->stop();
    const fs::path manifest = site.files("MANIFEST").back();
    const std::string octets = read_octets(manifest);
    write_octets(manifest, octets.substr(0, octets.size() - 3));
    CHECK_FALSE(site.refusal().empty());
  }

  TEST_CASE("a CURRENT that is gone or garbled is refused, and made anew on demand") {
    for (const std::string& content :
         {std::string(), std::string("MANIFEST-000"), std::string("MANIFEST-009999\n")}) {
      CAPTURE(content);
      Site site;
      site.run(10);
      const std::string current = site.temp.path() + "/db/CURRENT";
      content.empty() ? static_cast<void>(fs::remove(current)) : write_octets(current, content);
      CHECK(contains(site.refusal(), "CURRENT does not name"));
      site.config.accept_data_loss = true;
      CHECK(site.finds_all());
    }
  }

  TEST_CASE("a store whose making was interrupted is made again") {
    Site site;
    { test::open_store(site.config); }
    const std::string db = site.temp.path() + "/db";
    fs::remove_all(db);
    fs::remove(site.temp.path() + "/store.logs");
    fs::create_directory(db);
    write_octets(db + "/MANIFEST-000001", "half");
    CHECK(site.finds_all());
  }
}

}  // namespace harrier
