#include "store_support.h"

#include <unistd.h>

#include <fmt/core.h>

#include "base/assert.h"

namespace harrier::test {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "harrier-test-XXXXXX").string();
  HARRIER_CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::uintmax_t TempDir::bytes_of(std::string_view suffix) const {
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path_)) {
    std::error_code gone;
    const std::uintmax_t size = entry.is_regular_file(gone) ? entry.file_size(gone) : 0;
    if (!gone && entry.path().string().ends_with(suffix)) bytes += size;
  }
  return bytes;
}

StoreListener Durability::listener() {
  return {.on_durable =
              [this](Ticket ticket) {
                durable_.store(ticket);
                signal_.store(ticket);
                signal_.notify_all();
              },
          .on_failure =
              [this](const StoreError&) {
                ++failures_;
                signal_.store(kFailed);
                signal_.notify_all();
              }};
}

void Durability::await(Ticket ticket) const {
  for (Ticket seen = signal_.load(); seen < ticket; seen = signal_.load())
    signal_.wait(seen);
}

MessageRef text_message(std::string_view body, std::string_view routing_key) {
  return Message::create({.exchange = "amq.direct",
                          .routing_key = routing_key,
                          .properties = std::string_view("\x10\x00\x02", 3),
                          .persistent = true},
                         body);
}

std::vector<Sequence> Content::sequences(LaneId lane) const {
  std::vector<Sequence> found;
  for (const auto& [place, entry] : entries) {
    if (place.first == lane.value) found.push_back(place.second);
  }
  return found;
}

Content read_all(Store& store, const std::vector<LaneId>& live) {
  Content content;
  HARRIER_CHECK(store.scan_records("", [&](std::string_view key, std::string_view value) {
    content.records.emplace(key, value);
  }));
  const auto lanes = store.recover_lanes(live);
  HARRIER_CHECK(lanes.has_value());
  for (const RecoveredLane& lane : *lanes)
    content.next_seq[lane.lane.value] = lane.next_seq;
  std::map<std::uint32_t, Sequence> last;
  const auto scanned = store.scan_entries([&](StoredEntry&& entry) {
    const Message& m = *entry.message;
    Sequence& previous = last[entry.lane.value];
    if (entry.seq <= previous) content.ascending = false;
    previous = entry.seq;
    content.entries[{entry.lane.value, entry.seq}] = {
        .message = fmt::format("{}|{}|{}|{}|{}|{}|{}", m.exchange(), m.routing_key(),
                               m.properties(), m.body(), m.persistent(), m.priority(), m.ttl_ms()),
        .enqueued_at = entry.enqueued_at.time_since_epoch().count(),
        .expires_at = entry.expires_at.time_since_epoch().count(),
        .redelivered = entry.redelivered};
  });
  HARRIER_CHECK(scanned.has_value());
  return content;
}

std::unique_ptr<Store> open_store(const StoreConfig& config) {
  auto store = open_rocks_store(config);
  if (!store) fmt::print(stderr, "{}\n", store.error().detail);
  HARRIER_CHECK(store.has_value());
  return *std::move(store);
}

StoreConfig small_epochs(const std::string& path) {
  StoreConfig config;
  config.data_dir = path;
  config.write_buffer_bytes = 256 * 1024;
  return config;
}

}  // namespace harrier::test
