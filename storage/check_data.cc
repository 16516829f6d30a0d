#include "storage/check_data.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <utility>

#include <fmt/core.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>

#include "storage/block.h"
#include "storage/body_store.h"
#include "storage/data_dir.h"
#include "storage/database.h"
#include "storage/file_scan.h"
#include "storage/floor_filter.h"
#include "storage/lane_record.h"
#include "storage/log_guard.h"
#include "storage/recovery.h"
#include "storage/schema.h"

namespace harrier {

namespace {

ByteView view(const rocksdb::Slice& octets) {
  return {octets.data(), octets.size()};
}

std::string describe(ByteView octets) {
  if (!decode_block_key(octets)) return octets.empty() ? "the begin" : "the next file";
  return block_place(octets);
}

// Everything that is read of one open database.
class Inspection {
 public:
  Inspection(const Columns& columns, DataReport& report)
      : columns_(columns), report_(report), bodies_(columns) {}

  void run() {
    read_lanes();
    read_blocks();
    read_ack_records();
    read_snapshots();
    read_definitions();
    compare_lanes();
  }

 private:
  // Blocks of one lane in one epoch.
  struct Found {
    std::uint64_t entries = 0;
    std::uint64_t settled = 0;  // of them
  };

  void read_lanes();
  void read_blocks();
  void read_block(const BlockKey& key, ByteView value);
  std::string skip_damage(const std::string& last, const rocksdb::Status& status);
  void check_body(const BlockKey& key, const BlockEntry& entry);
  void read_ack_records();
  void read_snapshots();
  void read_definitions();
  void compare_lanes();
  void compare_tally(const LaneState& lane);
  void compare_run(const LaneState& lane, const LaneRun& run);

  void note(std::string line) { report_.damage.push_back(std::move(line)); }

  void note(const rocksdb::Status& status, std::string_view doing) {
    if (!status.ok()) note(store_error(status, doing).detail);
  }

  std::unique_ptr<rocksdb::Iterator> iterate(rocksdb::ColumnFamilyHandle* column) const {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    return std::unique_ptr<rocksdb::Iterator>(columns_.db->NewIterator(options, column));
  }

  const Columns& columns_;
  DataReport& report_;
  BodyReader bodies_;
  std::optional<LaneStates> lanes_;  // none if they cannot be recovered
  std::map<std::pair<Epoch, LaneId>, Found> found_;
  std::unordered_map<LaneId, Tally> tallies_;  // of the unsettled persistent entries
};

void Inspection::read_lanes() {
  auto recovered = inspect(columns_);
  if (!recovered) return note(recovered.error().detail);
  lanes_ = std::move(recovered->lanes);
  report_.lanes = lanes_->all().size();
}

void Inspection::read_blocks() {
  const auto it = scan_files(*columns_.db, columns_.msg);
  std::string last;
  for (it->SeekToFirst();;) {
    for (; it->Valid(); it->Next()) {
      last = it->key().ToString();
      const auto key = decode_block_key(last);
      key ? read_block(*key, view(it->value())) : note("there is a block under an unknown key");
    }
    if (it->status().ok()) break;
    const std::string resume = skip_damage(last, it->status());
    if (resume.empty()) break;
    it->Seek(resume);
    last = resume;
  }
  Epoch epoch = 0;
  for (const auto& [place, found] : found_) {
    if (std::exchange(epoch, place.first) != place.first) ++report_.epochs;
  }
}

void Inspection::read_block(const BlockKey& key, ByteView value) {
  ++report_.blocks;
  report_.bytes += value.size();
  Found& found = found_[{key.epoch, key.lane}];
  const LaneState* lane = lanes_ ? lanes_->find(key.lane) : nullptr;
  const bool is_gone = lanes_ && lane == nullptr;  // a dropped lane
  BlockReader block(key, value);
  while (const auto entry = block.next()) {
    ++found.entries;
    const bool is_settled = is_gone || (lane != nullptr && lane->settled.contains(entry->seq));
    if (!is_settled && entry->parts.persistent) {
      tallies_[key.lane] += {1, entry->body_bytes};
      check_body(key, *entry);
    }
    ++(is_settled ? found.settled : report_.entries);
  }
  if (!block.ok()) {
    note(fmt::format("the block of epoch {} lane {} that ends with sequence {} is damaged",
                     key.epoch, key.lane.value, key.last_seq));
  }
}

void Inspection::check_body(const BlockKey& key, const BlockEntry& entry) {
  if (entry.body_place.id == kInBlock || bodies_.message(key.epoch, entry)) return;
  note(fmt::format("the body of sequence {} in lane {}, epoch {} is damaged or missing", entry.seq,
                   key.lane.value, key.epoch));
}

// Notes what cannot be read behind the key `last` and returns the key from which it can again.
std::string Inspection::skip_damage(const std::string& last, const rocksdb::Status& status) {
  const std::string resume = resume_behind(*columns_.db, columns_.msg, last);
  note(fmt::format("messages between {} and {} cannot be read: {}", describe(last),
                   resume.empty() ? "the end" : describe(resume), status.ToString()));
  return resume;
}

void Inspection::read_ack_records() {
  const auto it = scan_files(*columns_.db, columns_.ack);
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    ++report_.ack_records;
    const auto key = decode_ack_key(view(it->key()));
    if (key && read_ack_record(*key, view(it->value()), [](const LaneChange&) {})) continue;
    note(key ? fmt::format("the ack record of epoch {} commit {} is damaged", key->epoch,
                           key->commit)
             : "there is an ack record under an unknown key");
  }
  note(it->status(), "reading ack records");
}

void Inspection::read_snapshots() {
  const auto it = iterate(columns_.qs);
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const auto lane = decode_lane_key(view(it->key()));
    if (lane && read_lane_snapshot(*lane, view(it->value()))) continue;
    note(lane ? fmt::format("the snapshot of lane {} is damaged", lane->value)
              : "there is a lane snapshot under an unknown key");
  }
  note(it->status(), "reading lane snapshots");
}

void Inspection::read_definitions() {
  const auto it = iterate(columns_.meta);
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    if (it->key().starts_with(kDefinitionPrefix)) {
      ++report_.definitions;
    } else if (!decode_note(view(it->value()))) {
      note(fmt::format("the store's note {} is damaged", view(it->key())));
    }
  }
  note(it->status(), "reading definitions");
}

void Inspection::compare_lanes() {
  if (!lanes_) return;
  std::map<LaneId, const LaneState*> ordered;
  for (const auto& [id, lane] : lanes_->all())
    ordered[id] = &lane;
  for (const auto& [id, lane] : ordered) {
    for (const LaneRun& run : lane->runs)
      compare_run(*lane, run);
    compare_tally(*lane);
  }
}

// A restart believes the counters, without a look at the messages.
void Inspection::compare_tally(const LaneState& lane) {
  const Tally& counted = tallies_[lane.id];
  if (lane.tally == counted) return;
  note(fmt::format("lane {} counts {} messages of {} octets, {} messages of {} octets are there",
                   lane.id.value, lane.tally.entries, lane.tally.bytes, counted.entries,
                   counted.bytes));
}

// Blocks in which all is settled may be gone; nothing else may.
void Inspection::compare_run(const LaneState& lane, const LaneRun& run) {
  const Found& found = found_[{run.epoch, lane.id}];
  if (found.entries >= run.entries) return;
  const auto overlap = [&](SequenceRange range) {
    const Sequence begin = std::max(range.begin, run.first_seq);
    const Sequence end = std::min(range.end, run.last_seq + 1);
    return begin < end ? end - begin : 0;
  };
  std::uint64_t settled = overlap({0, lane.settled.floor()});
  for (const SequenceRange& range : lane.settled.ranges())
    settled += overlap(range);
  const std::uint64_t missing = run.entries - found.entries;
  const std::uint64_t may_be_gone = settled - std::min(settled, found.settled);
  if (missing <= may_be_gone) return;
  note(fmt::format(
      "lane {} lost at least {} of the {} messages that epoch {} had of it, among "
      "sequences {} to {}",
      lane.id.value, missing - may_be_gone, run.entries, run.epoch, run.first_seq, run.last_seq));
}

}  // namespace

Result<DataReport, StoreError> check_data(const StoreConfig& config) {
  std::error_code ignored;
  const StoreError none{StoreError::Kind::unusable,
                        fmt::format("there is no store in {}", config.data_dir)};
  if (!std::filesystem::exists(config.data_dir + "/db", ignored)) return fail(none);
  const auto directory = DataDir::open_to_read(config.data_dir);
  if (!directory) return fail(directory.error());
  const auto format = read_store_format(*directory);
  if (!format) return fail(format.error());
  auto findings = guard_database(directory->disk(), config.data_dir, OnDamage::report);
  if (!findings) return fail(findings.error());

  DataReport report;
  report.damage = std::move(findings->lost);
  report.notes = std::move(findings->notes);
  const FloorFilter filter;
  auto database = Database::open_read_only(directory->file("db"), config, filter);
  if (!database) {
    report.damage.push_back(database.error().detail);
  } else {
    Inspection((*database)->columns(), report).run();
  }
  return report;
}

std::string to_text(const DataReport& report) {
  std::string text = fmt::format(
      "definitions  {}\nlanes        {}\nmessages     {}\nblocks       {}, {} octets, {} epochs\n"
      "ack records  {}\n",
      report.definitions, report.lanes, report.entries, report.blocks, report.bytes, report.epochs,
      report.ack_records);
  for (const std::string& line : report.notes)
    text += fmt::format("note: {}\n", line);
  for (const std::string& line : report.damage)
    text += fmt::format("damaged: {}\n", line);
  return text + (report.is_sound() ? "The data is sound.\n" : "The data is damaged.\n");
}

}  // namespace harrier
