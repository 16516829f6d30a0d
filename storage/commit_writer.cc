#include "storage/commit_writer.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/write_batch.h>

#include "base/assert.h"
#include "base/log.h"
#include "storage/commit_mark.h"
#include "storage/disk.h"
#include "storage/known_logs.h"
#include "storage/store_copy.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");
constexpr std::size_t kBatchBytesKept = 16 << 20;  // a larger write batch gives its memory back
constexpr std::size_t kWaitingAcksMax = 64 << 10;
constexpr std::size_t kSnapshotsPerCommitMin = 64;
constexpr std::size_t kCommitsPerCheckpoint = 16;  // that many commits finish the snapshots
constexpr std::uint64_t kKeyOverhead = 64;         // of a record in the memtable, about
constexpr std::chrono::milliseconds kCensusPause{500};

rocksdb::Slice slice(ByteView octets) {
  return {octets.data(), octets.size()};
}

Disk disk_of(const rocksdb::DB& db) {
  return Disk(db.GetEnv()->GetFileSystem());
}

std::chrono::steady_clock::time_point now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

CommitWriter::CommitWriter(Database& database, FloorFilter& filter, RecoveredStore recovered,
                           WriterLimits limits)
    : columns_(database.columns()),
      watch_(database.watch()),
      memtables_(columns_, watch_),
      filter_(filter),
      limits_(limits),
      lanes_(std::move(recovered.lanes)),
      epoch_(recovered.epoch),
      checkpoint_(recovered.checkpoint),
      run_(recovered.run),
      work_(lanes_),
      batch_(std::make_unique<rocksdb::WriteBatch>()),
      block_(recovered.run),
      epoch_bytes_(memtables_.replayed_bytes()),  // they fill the memtables too
      epoch_began_(now()),
      reader_(columns_, recovered.first_run, recovered.on_damage),
      garbage_(columns_, limits.garbage) {
  begin_checkpoint();
}

CommitWriter::~CommitWriter() = default;

Result<void, StoreError> CommitWriter::keep_lanes(std::span<const LaneId> live) {
  const std::unordered_set<LaneId> kept(live.begin(), live.end());
  std::vector<LaneId> orphans;
  for (const auto& [id, lane] : lanes_.all()) {
    if (!kept.contains(id)) orphans.push_back(id);
  }
  if (orphans.empty()) return {};
  kLog.info("{} lanes without a queue are dropped", orphans.size());
  for (const LaneId id : orphans) {
    acks_.dropped(id);
    batch_->Delete(columns_.qs, slice(encode(id).view()));
    lanes_.drop(id, epoch_);
  }
  ++commit_;
  put_acks();
  return write_batch();
}

void CommitWriter::expect_repeats(const std::unordered_map<LaneId, Epoch>& dropped) {
  for (const auto& [lane, epoch] : dropped)
    lanes_.drop(lane, epoch);
  work_.expect_repeats();
}

Result<std::uint64_t, StoreError> CommitWriter::write(std::span<StoreBatch> batches) {
  if (auto room = make_room(batches); !room) return fail(room.error());
  ++commit_;
  must_write_ = false;
  work_.begin_commit();
  bodies_.start_commit();
  for (const StoreBatch& batch : batches)
    record(batch);
  count_bodies();
  for (CommitWork::Lane& lane : work_.lanes())
    pack(lane);
  work_.end_commit();
  staged_.end_commit();
  if (!must_write_ && !work_.must_write() && acks_.bytes() < kWaitingAcksMax)
    return unsynced_bytes_;
  put_acks();
  snapshot_lanes(snapshots_per_commit_);
  if (auto written = write_batch(); !written) return fail(written.error());
  if (epoch_bytes_ >= limits_.epoch_bytes) {
    if (auto switched = switch_epoch(); !switched) return fail(switched.error());
  }
  return unsynced_bytes_;
}

// A commit of one huge message may not fit behind what the memtable has already.
Result<void, StoreError> CommitWriter::make_room(std::span<const StoreBatch> batches) {
  std::uint64_t bytes = epoch_bytes_;
  for (const StoreBatch& batch : batches)
    bytes += batch.bytes() + staged_.missing_in(batch);
  if (epoch_bytes_ == 0 || bytes <= limits_.epoch_bytes + limits_.epoch_bytes / 4) return {};
  return switch_epoch();
}

void CommitWriter::record(const StoreBatch& batch) {
  for (const StoreBatch::Operation& operation : batch.operations())
    record(batch, operation);
}

void CommitWriter::record(const StoreBatch& batch, const StoreBatch::Operation& operation) {
  using Kind = StoreBatch::Operation::Kind;
  switch (operation.kind) {
    case Kind::put:
      record_put(batch, operation);
      break;
    case Kind::settle:
    case Kind::settle_range:
      work_.settle(operation);
      break;
    case Kind::drop_lane:
      work_.drop(operation.lane);
      break;
    case Kind::delivered_below:
      work_.delivered_below(operation.lane, operation.seq);
      break;
    case Kind::put_record: {
      const StoreBatch::Record& record = batch.records()[operation.record];
      batch_->Put(columns_.meta, definition_key(record.key), record.value);
      must_write_ = true;
      break;
    }
    case Kind::delete_record:
      batch_->Delete(columns_.meta, definition_key(batch.records()[operation.record].key));
      must_write_ = true;
      break;
    case Kind::stage:
      stage(batch, operation);
      break;
    case Kind::unstage:
      staged_.release(batch.parts()[operation.record].body);
      break;
  }
}

void CommitWriter::stage(const StoreBatch& batch, const StoreBatch::Operation& operation) {
  const StoreBatch::BodyPart& part = batch.parts()[operation.record];
  const auto first = staged_.add(part, epoch_, bodies_);
  if (!first) return;
  write_chunks(*first, operation.message->body(), part.offset + part.octets, *batch_, columns_.sh);
  must_write_ = true;
}

void CommitWriter::record_put(const StoreBatch& batch, const StoreBatch::Operation& operation) {
  if (!work_.put(operation)) return;
  staged_.release(operation.message->stored_body());
  if (staged_.place_of(*operation.message)) return;
  bodies_.note(*operation.message,
               batch.groups().empty() ? BodyWriter::Origin::alone : BodyWriter::Origin::from_group);
}

// Only lanes in which a message survives the commit share its body.
void CommitWriter::count_bodies() {
  if (!bodies_.has_candidates()) return;
  for (const CommitWork::Lane& lane : work_.lanes()) {
    for (const CommitWork::Put& put : lane.puts) {
      if (put.operation != nullptr) bodies_.count(*put.operation->message);
    }
  }
}

void CommitWriter::pack(CommitWork::Lane& work) {
  LaneState& lane = *work.state;
  if (work.dropped) {
    acks_.dropped(lane.id);
    batch_->Delete(columns_.qs, slice(encode(lane.id).view()));
    lanes_.drop(lane.id, epoch_);
    return;
  }
  pack_blocks(work);
  lane.next_put = std::max(lane.next_put, work.next_put);
  normalize(work.settled);
  if (work.delivered) {
    lane.delivered = std::max(lane.delivered, *work.delivered);
    lane.next_seq = std::max(lane.next_seq, *work.delivered);
  }
  if (work.puts.empty() && work.settled.empty() && !work.delivered) return;
  lane.tally = work.tally;
  acks_.changed(lane.id, work.settled, work.delivered, lane.tally);
  lanes_.settle(lane, work.settled);
}

void CommitWriter::pack_blocks(const CommitWork::Lane& work) {
  SequenceRange bodies;  // of the block at hand
  for (const CommitWork::Put& put : work.puts) {
    if (put.operation == nullptr) continue;
    const StoreBatch::Operation& operation = *put.operation;
    const Message& message = *operation.message;
    const BodyPlace body = place_body(*work.state, put);
    if (!block_.has_room_for(message, body)) put_block(*work.state, std::exchange(bodies, {}));
    block_.add(put.seq, message, operation.enqueued_at, operation.expires_at, body);
    if (body.is_in(epoch_)) bodies = hull(bodies, {put.seq, put.seq + 1});
  }
  if (!block_.empty()) put_block(*work.state, bodies);
}

BodyPlace CommitWriter::place_body(LaneState& lane, const CommitWork::Put& put) {
  const Message& message = *put.operation->message;
  auto staged = staged_.place_of(message);
  if (!staged) return {.id = bodies_.place(message, epoch_, *batch_, columns_.sh)};
  lanes_.add_body(lane, put.seq, staged->runs, epoch_);
  if (staged->runs.size() == 1 && staged->runs[0].epoch == epoch_) staged->runs.clear();
  return *std::move(staged);
}

void CommitWriter::put_block(LaneState& lane, const SequenceRange& bodies) {
  const BlockKey key{epoch_, lane.id, block_.last_seq()};
  const std::uint64_t entries = block_.entries();
  const ByteView value = block_.finish(key);
  batch_->Put(columns_.msg, slice(encode(key).view()), slice(value));
  lanes_.add_block(lane, {.epoch = epoch_,
                          .first_seq = block_.first_seq(),
                          .last_seq = key.last_seq,
                          .entries = entries,
                          .bytes = value.size(),
                          .bodies = bodies});
  must_write_ = true;
}

void CommitWriter::put_acks() {
  if (acks_.empty()) return;
  const AckKey key{epoch_, commit_};
  batch_->Put(columns_.ack, slice(encode(key).view()), slice(acks_.finish(key)));
}

// Goes on with the checkpoint of this epoch and completes it when no lane is left.
void CommitWriter::snapshot_lanes(std::size_t count_max) {
  if (!checkpoint_pending_) return;
  for (; count_max > 0 && !to_snapshot_.empty(); --count_max) {
    LaneState* lane = lanes_.find(to_snapshot_.back());
    to_snapshot_.pop_back();
    if (lane != nullptr) snapshot(*lane);
  }
  if (!to_snapshot_.empty()) return;
  batch_->Put(columns_.meta, slice(kCheckpointKey), encode_note(epoch_));
  checkpoint_ = epoch_;
  checkpoint_pending_ = false;
}

void CommitWriter::snapshot(LaneState& lane) {
  write_lane_snapshot(lane, snapshot_);
  batch_->Put(columns_.qs, slice(encode(lane.id).view()), slice(snapshot_.view()));
  lane.changed = false;
}

// Shows the guard whether commits are missing, and whether they had been synced.
void CommitWriter::log_commit() {
  const CommitMark mark{.run = run_,
                        .commit = ++written_commits_,
                        .synced_commit = synced_commit_,
                        .first_of_log = first_of_log_};
  const auto octets = encode(mark);
  batch_->PutLogData(rocksdb::Slice(octets.data(), octets.size()));
}

Result<void, StoreError> CommitWriter::write_batch() {
  log_commit();
  const std::uint64_t bytes =
      batch_->GetDataSize() + kKeyOverhead * static_cast<std::uint64_t>(batch_->Count());
  const rocksdb::Status written = columns_.db->Write(rocksdb::WriteOptions(), batch_.get());
  if (batch_->GetDataSize() > kBatchBytesKept) {
    batch_ = std::make_unique<rocksdb::WriteBatch>();
  } else {
    batch_->Clear();
  }
  if (!written.ok()) return fail(store_error(written, "writing a commit"));
  epoch_bytes_ += bytes;
  unsynced_bytes_ += bytes;
  return {};
}

Result<void, StoreError> CommitWriter::sync() {
  if (unsynced_bytes_ == 0) return {};
  // A flush syncs logs too. To sync one again that failed ends the process in Debian's RocksDB.
  if (auto state = watch_.state(); !state) return state;
  const rocksdb::Status synced = columns_.db->SyncWAL();
  if (!synced.ok()) {
    // Whatever the reason is, the system may have forgotten what it could not write.
    StoreError error = store_error(synced, "syncing the log");
    error.kind = StoreError::Kind::io;
    return fail(std::move(error));
  }
  if (auto state = watch_.state(); !state) return state;
  unsynced_bytes_ = 0;
  synced_commit_ = written_commits_;
  return {};
}

Result<void, StoreError> CommitWriter::switch_epoch() {
  ++commit_;
  put_acks();
  snapshot_lanes(to_snapshot_.size() + 1);
  if (batch_->Count() > 0) {
    if (auto written = write_batch(); !written) return written;
  }
  if (auto synced = sync(); !synced) return synced;
  publish_floors();
  if (auto room = memtables_.await_flushes(); !room) return room;
  if (auto sealed = memtables_.seal(false); !sealed) return sealed;
  first_of_log_ = written_commits_ + 1;
  if (auto noted = note_logs(disk_of(*columns_.db), columns_.db->GetName()); !noted) return noted;
  ++epoch_;
  epoch_bytes_ = 0;
  epoch_began_ = now();
  begin_checkpoint();
  take_census(Counting::octets);
  return {};
}

// Only when everything is synced.
void CommitWriter::publish_floors() {
  for (auto& [id, lane] : lanes_.all()) {
    if (!lane.settled.ranges().empty()) lanes_.release_settled_runs(lane);
  }
  filter_.publish(std::make_shared<const FloorTable>(lanes_));
}

void CommitWriter::begin_checkpoint() {
  to_snapshot_.clear();
  for (const auto& [id, lane] : lanes_.all()) {
    if (lane.changed) to_snapshot_.push_back(id);
  }
  snapshots_per_commit_ =
      std::max(kSnapshotsPerCommitMin, to_snapshot_.size() / kCommitsPerCheckpoint + 1);
  checkpoint_pending_ = true;
}

Result<void, StoreError> CommitWriter::tidy(bool idle) {
  if (idle && epoch_bytes_ > 0 && now() - epoch_began_ >= limits_.epoch_time_max) {
    return switch_epoch();
  }
  if (idle) {
    take_census(Counting::octets);
  } else if ((lanes_.released_epochs() > 0 || garbage_.wants_census()) &&
             now() - census_at_ >= kCensusPause) {
    take_census(Counting::epochs);
  }
  return {};
}

// Only when everything is synced.
void CommitWriter::take_census(Counting counting) {
  const bool counted = counting == Counting::octets;
  census_at_ = now();
  lanes_.forget_dropped_before(garbage_.oldest_epoch());
  lanes_.forget_released();
  std::vector<EpochUse> needed = counted ? lanes_.count_needed_epochs() : lanes_.needed_epochs();
  std::vector<Epoch> bodies = lanes_.body_epochs();
  staged_.add_epochs(bodies);
  garbage_.submit({.current = epoch_,
                   .in_memory_from = epoch_ - std::min<Epoch>(epoch_, kSealedMemtablesMax + 2),
                   .checkpoint = checkpoint_,
                   .needed = std::move(needed),
                   .bodies = std::move(bodies),
                   .has_live_bytes = counted});
}

void CommitWriter::read(const PageRequest& request, Store::PageReader done) {
  reader_.read(plan_page(lanes_.find(request.lane), request), std::move(done));
}

void CommitWriter::end_reads() {
  reader_.stop();
}

std::deque<PendingPage> CommitWriter::take_unread() {
  return reader_.take_unread();
}

// The epoch ends first, so that the copy consists of table files and needs no log.
CommitTarget::CopyResult CommitWriter::copy_to(const std::string& directory) {
  if (epoch_bytes_ > 0) {
    if (auto switched = switch_epoch(); !switched) return fail(switched.error());
  }
  watch_.sealing.store(true, std::memory_order_relaxed);  // of memtables that are empty
  Result<void, StoreError> copied = copy_store(*columns_.db, directory);
  watch_.sealing.store(false, std::memory_order_relaxed);
  return copied;
}

Result<void, StoreError> CommitWriter::close() {
  ++commit_;
  put_acks();
  for (auto& [id, lane] : lanes_.all()) {
    if (!lane.settled.ranges().empty()) lanes_.release_settled_runs(lane);
    if (lane.changed) snapshot(lane);
  }
  // No lane has changed since its snapshot, so nothing is left to be replayed.
  batch_->Put(columns_.meta, slice(kCheckpointKey), encode_note(epoch_ + std::uint64_t{1}));
  batch_->Put(columns_.meta, slice(kCleanStopKey), encode_note(run_));
  if (auto written = write_batch(); !written) return written;
  if (auto synced = sync(); !synced) return synced;
  publish_floors();
  if (auto sealed = memtables_.seal(true); !sealed) return sealed;
  garbage_.submit({.current = epoch_ + 1,
                   .in_memory_from = epoch_ + 1,
                   .checkpoint = epoch_ + 1,
                   .needed = lanes_.needed_epochs(),
                   .bodies = lanes_.body_epochs(),
                   .has_live_bytes = false});
  garbage_.finish();
  return note_logs(disk_of(*columns_.db), columns_.db->GetName());
}

}  // namespace harrier
