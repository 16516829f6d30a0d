#include "storage/recovery.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/write_batch.h>

#include "storage/block.h"
#include "storage/body_store.h"
#include "storage/commit_mark.h"
#include "storage/file_scan.h"
#include "storage/lane_record.h"

namespace harrier {

namespace {

ByteView view(const rocksdb::Slice& octets) {
  return {octets.data(), octets.size()};
}

rocksdb::Slice slice(ByteView octets) {
  return {octets.data(), octets.size()};
}

std::unique_ptr<rocksdb::Iterator> iterate(const Columns& columns,
                                           rocksdb::ColumnFamilyHandle* column) {
  if (column == columns.msg || column == columns.ack) return scan_files(*columns.db, column);
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  return std::unique_ptr<rocksdb::Iterator>(columns.db->NewIterator(options, column));
}

StoreError damaged(std::string_view what, std::string_view key) {
  return {StoreError::Kind::corruption,
          fmt::format("a stored {} is damaged (key {}); the data directory needs a repair or a "
                      "backup",
                      what, to_hex(key))};
}

Result<std::optional<std::uint64_t>, StoreError> read_note(const Columns& columns,
                                                           std::string_view key) {
  std::string value;
  const rocksdb::Status read =
      columns.db->Get(rocksdb::ReadOptions(), columns.meta, slice(key), &value);
  if (read.IsNotFound()) return std::nullopt;
  if (!read.ok()) return fail(store_error(read, "reading the store's notes"));
  const std::optional<std::uint64_t> note = decode_note(value);
  if (!note) return fail(damaged("note", key));
  return note;
}

// Numbers the run and takes the clean-stop mark away, before anything of this run can be delivered.
Result<void, StoreError> begin_run(const Columns& columns, RecoveredStore& store) {
  const auto last_run = read_note(columns, kRunKey);
  if (!last_run) return fail(last_run.error());
  const auto clean_run = read_note(columns, kCleanStopKey);
  if (!clean_run) return fail(clean_run.error());
  store.run = last_run->value_or(0) + 1;
  store.first_run = store.run;
  store.clean = !*last_run || *clean_run == *last_run;

  rocksdb::WriteBatch batch;
  batch.Put(columns.meta, slice(kRunKey), encode_note(store.run));
  batch.Delete(columns.meta, slice(kCleanStopKey));
  const auto mark = encode(CommitMark{.run = store.run});
  batch.PutLogData(rocksdb::Slice(mark.data(), mark.size()));
  rocksdb::WriteOptions options;
  options.sync = true;
  const rocksdb::Status written = columns.db->Write(options, &batch);
  if (!written.ok()) return fail(store_error(written, "starting a run"));
  return {};
}

// The highest epoch in use, from the last key of each family that leads with it.
Result<Epoch, StoreError> highest_epoch(const Columns& columns) {
  Epoch highest = 0;
  for (rocksdb::ColumnFamilyHandle* column : {columns.msg, columns.ack, columns.sh}) {
    auto it = iterate(columns, column);
    it->SeekToLast();
    if (!it->status().ok()) return fail(store_error(it->status(), "looking for the last epoch"));
    if (!it->Valid()) continue;
    const auto epoch = decode_leading_epoch(view(it->key()));
    if (!epoch) return fail(damaged("key", view(it->key())));
    highest = std::max(highest, *epoch);
  }
  return highest;
}

Result<void, StoreError> read_snapshots(const Columns& columns, RecoveredStore& store) {
  auto it = iterate(columns, columns.qs);
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const auto lane = decode_lane_key(view(it->key()));
    if (!lane) return fail(damaged("lane key", view(it->key())));
    auto state = read_lane_snapshot(*lane, view(it->value()));
    if (!state) return fail(damaged("lane snapshot", view(it->key())));
    // What lies in epochs from the checkpoint on is counted from the blocks themselves.
    std::erase_if(state->runs, [&](const LaneRun& run) { return run.epoch >= store.checkpoint; });
    store.lanes.restore(std::move(*state));
  }
  if (!it->status().ok()) return fail(store_error(it->status(), "reading lane snapshots"));
  return {};
}

// A union of settled ranges, and the newest tally: whether a snapshot has some of it already does
// not matter.
void replay(const LaneChange& change, RecoveredStore& store) {
  if (change.dropped) {
    store.lanes.drop(change.lane, store.epoch);
    return;
  }
  LaneState* lane = store.lanes.obtain(change.lane);
  if (lane == nullptr) return;
  if (change.delivered) {
    lane->delivered = std::max(lane->delivered, *change.delivered);
    lane->next_seq = std::max(lane->next_seq, *change.delivered);
  }
  lane->tally = change.tally;  // the last record wins
  store.lanes.settle(*lane, change.settled);
}

Result<void, StoreError> replay_acks(const Columns& columns, RecoveredStore& store) {
  auto it = iterate(columns, columns.ack);
  const KeyOctets<4> first = encode_epoch(store.checkpoint);
  for (it->Seek(slice(first.view())); it->Valid(); it->Next()) {
    const auto key = decode_ack_key(view(it->key()));
    if (!key) return fail(damaged("ack key", view(it->key())));
    const bool intact = read_ack_record(*key, view(it->value()),
                                        [&](const LaneChange& change) { replay(change, store); });
    if (!intact) return fail(damaged("ack record", view(it->key())));
  }
  if (!it->status().ok()) return fail(store_error(it->status(), "replaying ack records"));
  return {};
}

// Adds a block to its lane: by its header, and by its entries if there are bodies apart. False if
// it is damaged.
bool count_block(const BlockKey& key, ByteView value, LaneStates& lanes, LaneState& lane) {
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
      lanes.add_body(lane, entry->seq, body.runs, key.epoch);
    }
    if (!block.ok()) return false;
  }
  lanes.add_block(lane, run);
  return true;
}

Result<void, StoreError> count_blocks(const Columns& columns, RecoveredStore& store) {
  auto it = iterate(columns, columns.msg);
  const KeyOctets<4> first = encode_epoch(store.checkpoint);
  for (it->Seek(slice(first.view())); it->Valid(); it->Next()) {
    const auto key = decode_block_key(view(it->key()));
    if (!key) return fail(damaged("block key", view(it->key())));
    LaneState* lane = store.lanes.obtain(key->lane);
    if (lane == nullptr) continue;
    if (!count_block(*key, view(it->value()), store.lanes, *lane)) {
      return fail(damaged("block", view(it->key())));
    }
  }
  if (!it->status().ok()) return fail(store_error(it->status(), "reading block headers"));
  return {};
}

// Nobody knows any more how much was delivered since the last clean stop.
void distrust_delivered(LaneStates& lanes) {
  for (auto& [id, lane] : lanes.all()) {
    if (lane.delivered == lane.next_seq) continue;
    lane.delivered = lane.next_seq;
    lane.changed = true;
  }
}

Result<void, StoreError> read_lanes(const Columns& columns, RecoveredStore& store) {
  const auto checkpoint = read_note(columns, kCheckpointKey);
  if (!checkpoint) return fail(checkpoint.error());
  store.checkpoint = static_cast<Epoch>(checkpoint->value_or(0));
  const auto highest = highest_epoch(columns);
  if (!highest) return fail(highest.error());
  store.epoch = std::max(*highest, store.checkpoint) + 1;

  if (auto read = read_snapshots(columns, store); !read) return fail(read.error());
  if (auto replayed = replay_acks(columns, store); !replayed) return fail(replayed.error());
  if (auto counted = count_blocks(columns, store); !counted) return fail(counted.error());
  for (auto& [id, lane] : store.lanes.all()) {
    lane.next_put = std::max(lane.next_put, lane.settled.floor());
    lane.next_seq = std::max({lane.next_seq, lane.next_put, lane.settled.end()});
    store.lanes.release_settled_runs(lane);
  }
  return {};
}

}  // namespace

Result<RecoveredStore, StoreError> recover(const Columns& columns) {
  RecoveredStore store;
  if (auto begun = begin_run(columns, store); !begun) return fail(begun.error());
  if (auto read = read_lanes(columns, store); !read) return fail(read.error());
  if (!store.clean) distrust_delivered(store.lanes);
  return store;
}

Result<RecoveredStore, StoreError> inspect(const Columns& columns) {
  RecoveredStore store;
  if (auto read = read_lanes(columns, store); !read) return fail(read.error());
  return store;
}

Result<void, StoreError> scan_definitions(const Columns& columns, std::string_view prefix,
                                          const Store::RecordVisitor& visit) {
  auto it = iterate(columns, columns.meta);
  const std::string first = definition_key(prefix);
  for (it->Seek(first); it->Valid() && it->key().starts_with(first); it->Next()) {
    visit(view(it->key()).substr(kDefinitionPrefix.size()), view(it->value()));
  }
  if (!it->status().ok()) return fail(store_error(it->status(), "reading definitions"));
  return {};
}

Result<void, StoreError> scan_blocks(const Columns& columns, const LaneStates& lanes,
                                     const Store::EntryVisitor& visit) {
  BodyReader bodies(columns);
  auto it = iterate(columns, columns.msg);
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const auto key = decode_block_key(view(it->key()));
    if (!key) return fail(damaged("block key", view(it->key())));
    const auto found = lanes.all().find(key->lane);
    if (found == lanes.all().end()) continue;
    const LaneState& lane = found->second;
    if (key->last_seq < lane.settled.floor()) continue;
    BlockReader block(*key, view(it->value()));
    while (const auto entry = block.next()) {
      if (!entry->parts.persistent || lane.settled.contains(entry->seq)) continue;
      MessageRef message = bodies.message(key->epoch, *entry);
      if (!message) return fail(damaged("body of a block", view(it->key())));
      visit({.lane = key->lane,
             .seq = entry->seq,
             .message = std::move(message),
             .enqueued_at = entry->enqueued_at,
             .expires_at = entry->expires_at,
             .redelivered = entry->seq < lane.delivered});
    }
    if (!block.ok()) return fail(damaged("block", view(it->key())));
  }
  if (!it->status().ok()) return fail(store_error(it->status(), "reading messages"));
  return {};
}

}  // namespace harrier
