#include "storage/recovery.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/metadata.h>
#include <rocksdb/write_batch.h>

#include "base/log.h"
#include "storage/block.h"
#include "storage/commit_mark.h"
#include "storage/file_scan.h"
#include "storage/lane_record.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");

ByteView view(const rocksdb::Slice& octets) {
  return {octets.data(), octets.size()};
}

rocksdb::Slice slice(ByteView octets) {
  return {octets.data(), octets.size()};
}

// Nobody knows any more how much was delivered since the last clean stop.
void distrust_delivered(LaneStates& lanes) {
  for (auto& [id, lane] : lanes.all()) {
    if (lane.delivered == lane.next_seq) continue;
    lane.delivered = lane.next_seq;
    lane.changed = true;
  }
}

// One way through a database, from its notes to its blocks.
class Recovery {
 public:
  Recovery(const Columns& columns, OnDamage on_damage) : columns_(columns), on_damage_(on_damage) {}

  Result<void, StoreError> read_run();
  Result<void, StoreError> read_lanes();
  Result<void, StoreError> begin_run();

  RecoveredStore& store() { return store_; }

 private:
  static constexpr std::size_t kLossesTold = 20;
  // A lost note of the run costs no harm as long as the new one is above.
  static constexpr std::uint64_t kRunsPassedOver = 1 << 20;

  using Visitor = std::function<Result<void, StoreError>(ByteView key, ByteView value)>;

  Result<void, StoreError> lose(std::string what);
  Result<void, StoreError> lose_block(const BlockKey& key, ByteView value, const LaneState& lane);
  Result<void, StoreError> scan(rocksdb::ColumnFamilyHandle* column, Epoch from,
                                std::string_view what, const Visitor& visit);
  Result<std::optional<std::uint64_t>, StoreError> read_note(std::string_view key);
  Result<Epoch, StoreError> highest_epoch() const;
  Result<void, StoreError> read_snapshots();
  Result<void, StoreError> read_snapshot(ByteView key, ByteView value);
  Result<void, StoreError> replay_acks();
  void replay(const LaneChange& change);
  Result<void, StoreError> count_blocks();
  bool count_block(const BlockKey& key, ByteView value, LaneState& lane);
  Result<void, StoreError> count_or_rebuild();
  Result<void, StoreError> rebuild();
  bool rebuild_block(const BlockKey& key, ByteView value, LaneState& lane);
  void put_mended(rocksdb::WriteBatch& batch);

  // What a scan of all blocks found of a lane.
  struct Rebuilt {
    Tally tally;
    Sequence end = 0;                 // one past the last entry found
    std::vector<SequenceRange> gaps;  // in front of it
  };

  const Columns& columns_;
  const OnDamage on_damage_;
  RecoveredStore store_;
  std::size_t losses_ = 0;
  bool told_later_ = false;        // what is lost is found again in rebuild()
  std::uint64_t highest_run_ = 0;  // in blocks, if all were read
  std::unordered_map<LaneId, Rebuilt> rebuilt_;
};

// Something that had been synced cannot be read.
Result<void, StoreError> Recovery::lose(std::string what) {
  ++losses_;
  if (on_damage_ == OnDamage::refuse || told_later_) {
    return fail(StoreError{StoreError::Kind::corruption, fmt::format("{}; {}", what, kDamageMend)});
  }
  if (losses_ <= kLossesTold) kLog.warning("accepted: {}", what);
  if (losses_ == kLossesTold + 1)
    kLog.warning("accepted: what else is lost is not told one by one");
  return {};
}

// No harm if all in it is settled.
Result<void, StoreError> Recovery::lose_block(const BlockKey& key, ByteView value,
                                              const LaneState& lane) {
  if (key.last_seq < lane.settled.floor()) return {};
  const auto header = read_block_header(value);
  Sequence first = std::max(lane.settled.floor(), header ? header->first_seq : 0);
  if (!lane.runs.empty()) first = std::max(first, lane.runs.back().last_seq + 1);
  return lose(fmt::format(
      "messages {} to {} of lane {} cannot be read: their block is damaged (key {})",
      std::min(first, key.last_seq), key.last_seq, key.lane.value, to_hex(encode(key).view())));
}

// Visits what is under keys with epochs from `from` on. Passes over what cannot be read, if it may.
Result<void, StoreError> Recovery::scan(rocksdb::ColumnFamilyHandle* column, Epoch from,
                                        std::string_view what, const Visitor& visit) {
  const auto it = scan_files(*columns_.db, column);
  std::string last(encode_epoch(from).view());
  it->Seek(last);
  for (;;) {
    for (; it->Valid(); it->Next()) {
      last = it->key().ToString();
      if (auto visited = visit(view(it->key()), view(it->value())); !visited) return visited;
    }
    const rocksdb::Status status = it->status();
    if (status.ok()) return {};
    if (!status.IsCorruption()) return fail(store_error(status, "reading what is stored"));
    const std::string resume = resume_behind(*columns_.db, column, last);
    const auto place = [&](const std::string& key) {
      return column == columns_.msg && decode_block_key(key)
                 ? block_place(key)
                 : fmt::format("epoch {}", decode_leading_epoch(key).value_or(0));
    };
    auto lost = lose(fmt::format("{} between {} and {} cannot be read: {}", what, place(last),
                                 resume.empty() ? "the end" : place(resume), status.ToString()));
    if (!lost || resume.empty()) return lost;
    last = resume;
    it->Seek(resume);
  }
}

Result<std::optional<std::uint64_t>, StoreError> Recovery::read_note(std::string_view key) {
  std::string value;
  const rocksdb::Status read =
      columns_.db->Get(rocksdb::ReadOptions(), columns_.meta, slice(key), &value);
  if (read.IsNotFound()) return std::nullopt;
  if (!read.ok()) return fail(store_error(read, "reading the store's notes and definitions"));
  const std::optional<std::uint64_t> note = decode_note(value);
  if (note) return note;
  if (auto lost = lose(fmt::format("the store's note {} is damaged", key)); !lost) {
    return fail(lost.error());
  }
  return std::nullopt;
}

Result<void, StoreError> Recovery::read_run() {
  const auto last_run = read_note(kRunKey);
  if (!last_run) return fail(last_run.error());
  const auto clean_run = read_note(kCleanStopKey);
  if (!clean_run) return fail(clean_run.error());
  store_.run = last_run->value_or(0) + 1;
  store_.clean = !*last_run || *clean_run == *last_run;
  return {};
}

// Numbers the run and takes the clean-stop mark away, before anything of this run can be delivered.
Result<void, StoreError> Recovery::begin_run() {
  if (losses_ > 0) store_.run = std::max(store_.run, highest_run_ + kRunsPassedOver);
  store_.first_run = store_.run;
  rocksdb::WriteBatch batch;
  if (losses_ > 0) put_mended(batch);
  batch.Put(columns_.meta, slice(kRunKey), encode_note(store_.run));
  batch.Delete(columns_.meta, slice(kCleanStopKey));
  const auto mark = encode(CommitMark{.run = store_.run});
  batch.PutLogData(rocksdb::Slice(mark.data(), mark.size()));
  rocksdb::WriteOptions options;
  options.sync = true;
  const rocksdb::Status written = columns_.db->Write(options, &batch);
  if (!written.ok()) return fail(store_error(written, "starting a run"));
  return {};
}

// All that is known of the lanes, so that no later start needs what is damaged. If snapshots cannot
// be written because they go with their family, as one ack record on top of nothing.
void Recovery::put_mended(rocksdb::WriteBatch& batch) {
  store_.checkpoint = store_.snapshots_unreadable ? 0 : store_.epoch;
  AckRecordBuilder acks;
  Buffer snapshot;
  for (const auto& [id, lane] : store_.lanes.all()) {
    if (store_.snapshots_unreadable) {
      std::vector<SequenceRange> settled{{0, lane.settled.floor()}};
      settled.insert(settled.end(), lane.settled.ranges().begin(), lane.settled.ranges().end());
      acks.changed(id, settled, lane.next_seq, lane.tally);
    } else {
      write_lane_snapshot(lane, snapshot);
      batch.Put(columns_.qs, slice(encode(id).view()), slice(snapshot.view()));
    }
  }
  const AckKey key{store_.epoch, 0};
  if (!acks.empty()) batch.Put(columns_.ack, slice(encode(key).view()), slice(acks.finish(key)));
  batch.Put(columns_.meta, slice(kCheckpointKey), encode_note(store_.checkpoint));
}

// The highest epoch in use, from the last key of each family that leads with it. What is in files
// is known without reading them.
Result<Epoch, StoreError> Recovery::highest_epoch() const {
  Epoch highest = 0;
  std::vector<rocksdb::LiveFileMetaData> files;
  columns_.db->GetLiveFilesMetaData(&files);
  for (rocksdb::ColumnFamilyHandle* column : {columns_.msg, columns_.ack, columns_.sh}) {
    for (const rocksdb::LiveFileMetaData& file : files) {
      if (file.column_family_name != column->GetName()) continue;
      highest = std::max(highest, decode_leading_epoch(file.largestkey).value_or(0));
    }
    const auto it = scan_files(*columns_.db, column);
    it->SeekToLast();
    if (it->status().IsCorruption()) continue;  // then it is in a file
    if (!it->status().ok()) return fail(store_error(it->status(), "looking for the last epoch"));
    if (it->Valid()) {
      highest = std::max(highest, decode_leading_epoch(view(it->key())).value_or(0));
    }
  }
  return highest;
}

// Where a snapshot cannot be read, all ack records there are say more about its lane than those
// from the checkpoint on.
Result<void, StoreError> Recovery::read_snapshots() {
  const std::size_t losses = losses_;
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(columns_.db->NewIterator(options, columns_.qs));
  std::string last;
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    last = it->key().ToString();
    if (auto read = read_snapshot(last, view(it->value())); !read) return read;
  }
  const rocksdb::Status status = it->status();
  if (status.IsCorruption()) {
    const auto lane = decode_lane_key(last);
    auto lost = lose(
        fmt::format("lane snapshots behind {} cannot be read, what was settled in those "
                    "lanes comes again: {}",
                    lane ? fmt::format("lane {}", lane->value) : "the begin", status.ToString()));
    if (!lost) return lost;
    store_.snapshots_unreadable = true;
    for (it->SeekToLast(); it->Valid() && it->key().compare(last) > 0; it->Prev()) {
      if (auto read = read_snapshot(view(it->key()), view(it->value())); !read) return read;
    }
  } else if (!status.ok()) {
    return fail(store_error(status, "reading lane snapshots"));
  }
  if (losses_ > losses) store_.checkpoint = 0;
  return {};
}

Result<void, StoreError> Recovery::read_snapshot(ByteView key, ByteView value) {
  const auto lane = decode_lane_key(key);
  if (!lane) return lose(fmt::format("a lane snapshot has an unknown key ({})", to_hex(key)));
  auto state = read_lane_snapshot(*lane, value);
  if (!state) {
    store_.lanes.obtain(*lane)->changed = true;
    return lose(
        fmt::format("the snapshot of lane {} is damaged (key {}): what was settled in the lane "
                    "comes again",
                    lane->value, to_hex(key)));
  }
  // What lies in epochs from the checkpoint on is counted from the blocks themselves.
  std::erase_if(state->runs, [&](const LaneRun& run) { return run.epoch >= store_.checkpoint; });
  store_.lanes.restore(std::move(*state));
  return {};
}

Result<void, StoreError> Recovery::replay_acks() {
  return scan(columns_.ack, store_.checkpoint, "ack records, so what they settled comes again,",
              [&](ByteView octets, ByteView value) -> Result<void, StoreError> {
                const auto key = decode_ack_key(octets);
                const auto change = [&](const LaneChange& found) { replay(found); };
                if (key && read_ack_record(*key, value, change)) return {};
                return lose(
                    fmt::format("an ack record of epoch {} is damaged (key {}): what it "
                                "settled comes again",
                                decode_leading_epoch(octets).value_or(0), to_hex(octets)));
              });
}

// A union of settled ranges, and the newest tally: whether a snapshot has some of it already does
// not matter.
void Recovery::replay(const LaneChange& change) {
  if (change.dropped) {
    store_.lanes.drop(change.lane, store_.epoch);
    return;
  }
  LaneState* lane = store_.lanes.obtain(change.lane);
  if (lane == nullptr) return;
  if (change.delivered) {
    lane->delivered = std::max(lane->delivered, *change.delivered);
    lane->next_seq = std::max(lane->next_seq, *change.delivered);
  }
  lane->tally = change.tally;  // the last record wins
  store_.lanes.settle(*lane, change.settled);
}

Result<void, StoreError> Recovery::count_blocks() {
  return scan(columns_.msg, store_.checkpoint, "messages",
              [&](ByteView octets, ByteView value) -> Result<void, StoreError> {
                const auto key = decode_block_key(octets);
                if (!key) return lose("there is a block under the unknown key " + to_hex(octets));
                LaneState* lane = store_.lanes.obtain(key->lane);
                if (lane == nullptr || count_block(*key, value, *lane)) return {};
                return lose_block(*key, value, *lane);
              });
}

// Adds a block to its lane: by its header, and by its entries if there are bodies apart. False if
// it is damaged.
bool Recovery::count_block(const BlockKey& key, ByteView value, LaneState& lane) {
  const auto header = read_block_header(value);
  if (!header) return false;
  LaneRun run{.epoch = key.epoch,
              .first_seq = header->first_seq,
              .last_seq = key.last_seq,
              .entries = header->entries,
              .bytes = value.size()};
  if (header->has_bodies_apart) {
    BlockReader block(key, value);
    while (const auto entry = block.next()) {
      const BodyPlace& body = entry->body_place;
      if (body.is_in(key.epoch)) run.bodies = hull(run.bodies, {entry->seq, entry->seq + 1});
      store_.lanes.add_body(lane, entry->seq, body.runs, key.epoch);
    }
    if (!block.ok()) return false;
  }
  store_.lanes.add_block(lane, run);
  return true;
}

// Counts and places what there is, by looking at every entry of every block. What is not there is
// settled, lost messages too: nothing will stop at them.
Result<void, StoreError> Recovery::rebuild() {
  store_.lanes.forget_runs();
  auto scanned = scan(columns_.msg, 0, "messages",
                      [&](ByteView octets, ByteView value) -> Result<void, StoreError> {
                        const auto key = decode_block_key(octets);
                        LaneState* lane = key ? store_.lanes.obtain(key->lane) : nullptr;
                        if (lane == nullptr || rebuild_block(*key, value, *lane)) return {};
                        lane->next_put = std::max(lane->next_put, key->last_seq + 1);
                        return lose_block(*key, value, *lane);
                      });
  if (!scanned) return scanned;
  for (auto& [id, lane] : store_.lanes.all()) {
    Rebuilt& found = rebuilt_[id];
    lane.next_put = std::max(lane.next_put, lane.settled.floor());
    found.gaps.push_back({std::max(found.end, Sequence{1}), lane.next_put});
    normalize(found.gaps);
    store_.lanes.settle(lane, found.gaps);
    lane.tally = found.tally;
  }
  return {};
}

bool Recovery::rebuild_block(const BlockKey& key, ByteView value, LaneState& lane) {
  if (!BlockReader(key, value).ok() || !count_block(key, value, lane)) return false;
  Rebuilt& found = rebuilt_[key.lane];
  BlockReader block(key, value);
  highest_run_ = std::max(highest_run_, block.run());
  while (const auto entry = block.next()) {
    if (!entry->parts.persistent) continue;
    if (found.end < entry->seq)
      found.gaps.push_back({std::max(found.end, Sequence{1}), entry->seq});
    found.end = entry->seq + 1;
    if (!lane.settled.contains(entry->seq)) found.tally += {1, entry->body_bytes};
  }
  return block.ok();
}

Result<void, StoreError> Recovery::count_or_rebuild() {
  if (on_damage_ != OnDamage::accept) return count_blocks();
  if (losses_ == 0) {
    told_later_ = true;
    auto counted = count_blocks();
    told_later_ = false;
    if (counted || losses_ == 0) return counted;
    losses_ = 0;
  }
  return rebuild();
}

Result<void, StoreError> Recovery::read_lanes() {
  const auto checkpoint = read_note(kCheckpointKey);
  if (!checkpoint) return fail(checkpoint.error());
  store_.checkpoint = static_cast<Epoch>(checkpoint->value_or(0));
  const auto highest = highest_epoch();
  if (!highest) return fail(highest.error());
  store_.epoch = std::max(*highest, store_.checkpoint) + 1;

  if (auto read = read_snapshots(); !read) return read;
  if (auto replayed = replay_acks(); !replayed) return replayed;
  if (auto counted = count_or_rebuild(); !counted) return counted;
  store_.clean = store_.clean && losses_ == 0;
  for (auto& [id, lane] : store_.lanes.all()) {
    lane.next_put = std::max(lane.next_put, lane.settled.floor());
    lane.next_seq = std::max({lane.next_seq, lane.next_put, lane.settled.end()});
    store_.lanes.release_settled_runs(lane);
  }
  return {};
}

}  // namespace

Result<RecoveredStore, StoreError> recover(const Columns& columns, OnDamage on_damage) {
  Recovery recovery(columns, on_damage);
  if (auto read = recovery.read_run(); !read) return fail(read.error());
  if (auto read = recovery.read_lanes(); !read) return fail(read.error());
  if (!recovery.store().clean) distrust_delivered(recovery.store().lanes);
  if (auto begun = recovery.begin_run(); !begun) return fail(begun.error());
  return std::move(recovery.store());
}

Result<RecoveredStore, StoreError> inspect(const Columns& columns) {
  Recovery recovery(columns, OnDamage::refuse);
  if (auto read = recovery.read_lanes(); !read) return fail(read.error());
  return std::move(recovery.store());
}

}  // namespace harrier
