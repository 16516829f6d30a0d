// What may happen to the files of a stopped store.
//
// One flipped bit anywhere in a store: the start is refused, or reading says what is damaged, or
// nothing is lost. Never is something missing in silence. HARRIER_SEED=n repeats a run,
// HARRIER_ROUNDS=n flips as many bits in each kind of file.
//
// A power loss, which does anything to what was not synced: that is never refused.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>

#include <doctest/doctest.h>
#include <fmt/core.h>

#include "storage/commit_mark.h"
#include "storage/commit_writer.h"
#include "storage/log_format.h"
#include "workload.h"

namespace harrier {

namespace {

namespace fs = std::filesystem;

using test::Content;
using test::Durability;
using test::TempDir;

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::uint64_t choose_seed() {
  const std::uint64_t seed = number_from_environment("HARRIER_SEED", std::random_device{}());
  fmt::print("HARRIER_SEED={}\n", seed);
  return seed;
}

// A store that was killed after everything in it had been confirmed: tables, logs of two runs.
struct Original {
  explicit Original(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::uint32_t next_lane = 1;
    for (int run = 0; run < 3; ++run) {
      Durability durability;
      auto store = test::open_store(test::small_epochs(temp.path()));
      test::Workload workload(random(), test::read_all(*store, live), next_lane);
      const SubmitterId submitter = store->add_submitter(durability.listener());
      Ticket last = 0;
      for (int number = 0; number < 150; ++number) {
        StoreBatch batch = workload.next();
        batch.want_sync();
        last = store->submit(submitter, batch);
        if (number % 4 == 0) durability.await(last);
      }
      durability.await(last);
      live = workload.lanes();
      next_lane = workload.next_lane();
    }
    const TempDir copy;
    copy_to(copy.path());
    auto store = test::open_store(test::small_epochs(copy.path()));
    content = test::read_all(*store, live);
  }

  void copy_to(const std::string& path) const {
    fs::copy(temp.path(), path, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }

  TempDir temp;
  std::vector<LaneId> live;
  Content content;
};

enum class Outcome {
  refused,
  unreadable,  // started, but a scan tells of the damage
  whole,
  lost
};

// All that can be read of the store in `path`, compared.
Outcome open_and_read(const std::string& path, const Original& original) {
  const auto store = open_rocks_store(test::small_epochs(path));
  if (!store) return store.error().detail.empty() ? Outcome::lost : Outcome::refused;
  const auto content = test::try_read_all(**store, original.live);
  if (!content) return content.error().detail.empty() ? Outcome::lost : Outcome::unreadable;
  const bool whole =
      content->entries == original.content.entries && content->records == original.content.records;
  return whole ? Outcome::whole : Outcome::lost;
}

// Reads all pages. Messages may be missing or come again, but none is another, and no page stops.
std::size_t count_missing(Store& store, const Original& original) {
  std::size_t found = 0;
  const auto lanes = store.recover_lanes(original.live);
  REQUIRE(lanes.has_value());
  for (const RecoveredLane& lane : *lanes) {
    for (Sequence next = 1; next < lane.next_seq;) {
      const LanePage page =
          test::read_page(store, {.lane = lane.lane, .from = next, .end = lane.next_seq});
      REQUIRE_FALSE(page.damage.has_value());
      REQUIRE(page.next > next);
      next = page.next;
      for (const StoredEntry& entry : page.entries) {
        const auto known = original.content.entries.find({lane.lane.value, entry.seq});
        if (known == original.content.entries.end()) continue;
        ++found;
        CHECK(Content::entry(entry).message == known->second.message);
      }
    }
  }
  return original.content.entries.size() - found;
}

std::vector<fs::path> files_of(const std::string& path, std::string_view kind) {
  std::vector<fs::path> files;
  for (const auto& file : fs::recursive_directory_iterator(path)) {
    const std::string name = file.path().filename();
    if (file.is_regular_file() && name.find(kind) != std::string::npos)
      files.push_back(file.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string read_octets(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Flips a random bit among the last octets of `file`.
void flip_bit(const fs::path& file, std::uint64_t last, std::mt19937_64& random) {
  const std::uint64_t size = fs::file_size(file);
  const std::uint64_t range = std::min(size, last);
  const std::uint64_t at = size - range + random() % range;
  std::fstream octets(file, std::ios::in | std::ios::out | std::ios::binary);
  octets.seekg(static_cast<std::streamoff>(at));
  const char octet = static_cast<char>(octets.get());
  octets.seekp(static_cast<std::streamoff>(at));
  octets.put(static_cast<char>(octet ^ static_cast<char>(1 << (random() % 8))));
}

// Commits of one message each, written past the loop, so that it is known which are synced.
struct Unsynced {
  static constexpr LaneId kLane{3};

  explicit Unsynced(std::mt19937_64& random) {
    { test::open_store(config)->stop(); }
    const FloorFilter filter;
    auto database = *Database::open(temp.path() + "/db", config, filter);
    FloorFilter floors;
    CommitWriter writer(*database, floors, *recover(database->columns()), {.epoch_bytes = 300'000});
    for (std::uint64_t left = 20 + random() % 60; left > 0; --left) {
      StoreBatch batch;
      const std::string body(1 + random() % (random() % 4 == 0 ? 60'000 : 500), 'x');
      batch.put(kLane, ++last_seq, test::text_message(body), kNoTime, kNoTime);
      REQUIRE(writer.write({&batch, 1}).has_value());
      if (random() % 12 == 0) REQUIRE(writer.sync().has_value());
    }
  }

  // The newest log, and from where on it was not synced when the power went. It may be empty.
  std::pair<fs::path, std::uint64_t> unsynced_part() const {
    const std::vector<fs::path> logs = files_of(temp.path() + "/db", ".log");
    const std::string octets = read_octets(logs.back());
    std::optional<CommitMark> last;
    LogReader marks(octets);
    while (const auto piece = marks.next())
      last = read_logged_batch(piece->record)->mark;
    std::uint64_t synced_to = 0;
    LogReader reader(octets);
    while (const auto piece = reader.next()) {
      const auto mark = read_logged_batch(piece->record)->mark;
      if (!mark || mark->commit <= last->synced_commit) synced_to = piece->end;
    }
    return {logs.back(), synced_to};
  }

  TempDir temp;
  StoreConfig config = {.data_dir = temp.path()};
  Sequence last_seq = 0;
};

// Leaves some of the octets from `from` on as they are, others zero or missing.
std::string lose_power(std::string octets, std::uint64_t from, std::mt19937_64& random) {
  constexpr std::uint64_t kPage = 4096;
  for (std::uint64_t at = from; at < octets.size(); at = (at / kPage + 1) * kPage) {
    const std::uint64_t end = std::min<std::uint64_t>((at / kPage + 1) * kPage, octets.size());
    if (random() % 3 == 0)
      std::fill(octets.begin() + static_cast<std::ptrdiff_t>(at),
                octets.begin() + static_cast<std::ptrdiff_t>(end), '\0');
  }
  if (random() % 2 == 0) octets.resize(from + random() % (octets.size() - from + 1));
  return octets;
}

}  // namespace

TEST_SUITE("store power loss") {
  TEST_CASE("whatever becomes of what was not synced, the rest starts") {
    const std::uint64_t seed = choose_seed();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const std::uint64_t rounds = number_from_environment("HARRIER_ROUNDS", 8);
    Sequence lost = 0;
    for (std::uint64_t round = 0; round < rounds; ++round) {
      CAPTURE(round);
      const Unsynced site(random);
      const auto [log, synced_to] = site.unsynced_part();
      const std::string octets = lose_power(read_octets(log), synced_to, random);
      std::ofstream(log, std::ios::binary) << octets;
      // What is left, then a run on top of it, which must not be taken for a proof of damage.
      Sequence left = 0;
      for (int start = 0; start < 3; ++start) {
        const auto store = open_rocks_store(site.config);
        if (!store) MESSAGE(store.error().detail);
        REQUIRE(store.has_value());
        const std::vector<Sequence> found =
            test::read_all(**store, {Unsynced::kLane}).sequences(Unsynced::kLane);
        if (start == 0) left = found.size();
        CHECK(found.size() == left);
        CHECK((found.empty() || found.back() == left));
      }
      lost += site.last_seq - left;
    }
    MESSAGE(lost << " unsynced messages lost");
    CHECK(lost > 0);
  }
}

TEST_SUITE("store damage") {
  TEST_CASE("one flipped bit never loses anything in silence") {
    struct Kind {
      const char* files;
      std::uint64_t last;  // octets at the end to choose from
    };

    const std::uint64_t seed = choose_seed();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const Original original(random());
    REQUIRE(original.content.entries.size() > 50);
    const std::uint64_t rounds = number_from_environment("HARRIER_ROUNDS", 8);
    for (const Kind& kind :
         {Kind{".log", UINT64_MAX}, Kind{".log", 300}, Kind{"MANIFEST", UINT64_MAX},
          Kind{"MANIFEST", 100}, Kind{"CURRENT", UINT64_MAX}, Kind{".sst", UINT64_MAX},
          Kind{".sst", 1500}, Kind{".sst", 60}, Kind{"OPTIONS", UINT64_MAX},
          Kind{"IDENTITY", UINT64_MAX}, Kind{"store.format", UINT64_MAX},
          Kind{"store.logs", UINT64_MAX}}) {
      const std::string pattern = kind.files;
      CAPTURE(pattern);
      CAPTURE(kind.last);
      int counts[4] = {};
      for (std::uint64_t round = 0; round < rounds; ++round) {
        CAPTURE(round);
        const TempDir copy;
        original.copy_to(copy.path());
        std::vector<fs::path> files = files_of(copy.path(), kind.files);
        std::erase_if(files, [](const fs::path& path) { return fs::is_empty(path); });
        REQUIRE_FALSE(files.empty());
        const fs::path file = files[random() % files.size()];
        CAPTURE(file.native());
        flip_bit(file, kind.last, random);
        const Outcome outcome = open_and_read(copy.path(), original);
        CHECK(outcome != Outcome::lost);
        ++counts[static_cast<int>(outcome)];
      }
      MESSAGE(std::string(kind.files) << ": " << counts[0] << " refused, " << counts[1]
                                      << " unreadable, " << counts[2] << " whole");
    }
  }

  TEST_CASE("where data loss is accepted, a flipped bit of a table costs no more than a table") {
    const std::uint64_t seed = choose_seed();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const Original original(random());
    int refused = 0;
    int accepted = 0;
    std::size_t lost = 0;
    for (std::uint64_t left = 3 * number_from_environment("HARRIER_ROUNDS", 8); left > 0; --left) {
      CAPTURE(left);
      const TempDir copy;
      original.copy_to(copy.path());
      const std::vector<fs::path> files = files_of(copy.path(), ".sst");
      const fs::path file = files[random() % files.size()];
      CAPTURE(file.native());
      flip_bit(file, UINT64_MAX, random);
      StoreConfig config = test::small_epochs(copy.path());
      const bool refuses = !open_rocks_store(config).has_value();
      config.accept_data_loss = true;
      {
        const auto store = open_rocks_store(config);
        if (!store) {  // definitions, or what tells where the blocks of a table are
          ++refused;
          continue;
        }
        const auto missing = count_missing(**store, original);
        lost += missing;
        CHECK(missing < original.content.entries.size());
      }
      accepted += refuses ? 1 : 0;
      config.accept_data_loss = false;
      const auto again = open_rocks_store(config);
      if (!again) MESSAGE(again.error().detail);
      CHECK(again.has_value());
    }
    MESSAGE(refused << " refused in any case, " << accepted << " accepted, " << lost
                    << " messages lost");
  }
}

}  // namespace harrier
