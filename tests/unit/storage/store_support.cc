#include "store_support.h"

#include <unistd.h>

#include <future>

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

MessageRef transient_message(std::string_view body) {
  return Message::create({.exchange = "", .routing_key = "transient", .properties = ""}, body);
}

std::vector<Sequence> Content::sequences(LaneId lane) const {
  std::vector<Sequence> found;
  for (const auto& [place, entry] : entries) {
    if (place.first == lane.value) found.push_back(place.second);
  }
  return found;
}

Tally Content::counted(std::uint32_t lane) const {
  Tally sum;
  for (auto it = entries.lower_bound({lane, 0}); it != entries.end() && it->first.first == lane;
       ++it) {
    sum += {1, it->second.body_bytes};
  }
  return sum;
}

Content::Entry Content::entry(const StoredEntry& stored) {
  const Message& m = *stored.message;
  return {
      .message = fmt::format("{}|{}|{}|{}|{}|{}|{}", m.exchange(), m.routing_key(), m.properties(),
                             m.body(), m.persistent(), m.priority(), m.ttl_ms()),
      .enqueued_at = stored.enqueued_at.time_since_epoch().count(),
      .expires_at = stored.expires_at.time_since_epoch().count(),
      .redelivered = stored.redelivered,
      .body_bytes = m.body().size()};
}

Content read_all(Store& store, const std::vector<LaneId>& live) {
  auto content = try_read_all(store, live);
  HARRIER_CHECK(content.has_value());
  return *std::move(content);
}

Result<Content, StoreError> try_read_all(Store& store, const std::vector<LaneId>& live) {
  Content content;
  const auto records = store.scan_records("", [&](std::string_view key, std::string_view value) {
    content.records.emplace(key, value);
  });
  if (!records) return fail(records.error());
  const auto lanes = store.recover_lanes(live);
  if (!lanes) return fail(lanes.error());
  for (const RecoveredLane& lane : *lanes) {
    content.first_seq[lane.lane.value] = lane.first_seq;
    content.next_seq[lane.lane.value] = lane.next_seq;
    content.tally[lane.lane.value] = lane.tally;
  }
  std::map<std::uint32_t, Sequence> last;
  const auto scanned = store.scan_entries([&](StoredEntry&& entry) {
    Sequence& previous = last[entry.lane.value];
    if (entry.seq <= previous) content.ascending = false;
    previous = entry.seq;
    content.entries[{entry.lane.value, entry.seq}] = Content::entry(entry);
  });
  if (!scanned) return fail(scanned.error());
  return content;
}

LanePage read_page(Store& store, const PageRequest& request) {
  std::promise<LanePage> promise;
  std::future<LanePage> page = promise.get_future();
  store.read(request, [&promise](LanePage&& read) { promise.set_value(std::move(read)); });
  return page.get();
}

std::vector<Sequence> sequences_in(const LanePage& page) {
  std::vector<Sequence> found;
  for (const StoredEntry& entry : page.entries)
    found.push_back(entry.seq);
  return found;
}

void Accounts::put(StoreBatch& batch, LaneId lane, Sequence seq, const MessageRef& message,
                   Timestamp enqueued_at, Timestamp expires_at) {
  lanes_[lane][seq] = tally_of(*message);
  batch.put(lane, seq, message, enqueued_at, expires_at);
}

void Accounts::settle(StoreBatch& batch, LaneId lane, Sequence seq) {
  batch.settle(lane, seq, take(lane, seq, seq + 1));
}

void Accounts::settle_range(StoreBatch& batch, LaneId lane, Sequence begin, Sequence end) {
  batch.settle_range(lane, begin, end, take(lane, begin, end));
}

void Accounts::drop(StoreBatch& batch, LaneId lane) {
  lanes_.erase(lane);
  batch.drop_lane(lane);
}

void Accounts::take_over(const Content& content) {
  for (const auto& [place, entry] : content.entries) {
    lanes_[LaneId{place.first}][place.second] = {1, entry.body_bytes};
  }
}

Tally Accounts::left(LaneId lane) const {
  Tally sum;
  const auto found = lanes_.find(lane);
  if (found == lanes_.end()) return sum;
  for (const auto& [seq, tally] : found->second)
    sum += tally;
  return sum;
}

Tally Accounts::take(LaneId lane, Sequence begin, Sequence end) {
  auto& entries = lanes_[lane];
  Tally sum;
  for (auto it = entries.lower_bound(begin); it != entries.end() && it->first < end;) {
    sum += it->second;
    it = entries.erase(it);
  }
  return sum;
}

std::unique_ptr<Store> open_store(const StoreConfig& config) {
  auto store = open_rocks_store(config);
  if (!store) fmt::print(stderr, "{}\n", store.error().detail);
  HARRIER_CHECK(store.has_value());
  return *std::move(store);
}

std::string copy_store(Store& store, const std::string& directory) {
  std::promise<Result<void, StoreError>> promise;
  auto outcome = promise.get_future();
  store.copy_to(directory,
                [&](Result<void, StoreError> done) { promise.set_value(std::move(done)); });
  const Result<void, StoreError> done = outcome.get();
  return done ? std::string() : done.error().detail;
}

StoreConfig small_epochs(const std::string& path) {
  StoreConfig config;
  config.data_dir = path;
  config.write_buffer_bytes = 256ULL << 10;
  return config;
}

}  // namespace harrier::test
