#include "storage/memory_store.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/assert.h"

namespace harrier {

struct MemoryStore::State {
  struct Entry {
    MessageRef message;
    Timestamp enqueued_at;
    Timestamp expires_at;
    std::uint64_t run;  // of the store in which it was put
  };

  struct Lane {
    std::map<Sequence, Entry> entries;
    Sequence next_seq = 1;
    Sequence delivered = 0;  // entries below it come back as redelivered
  };

  struct Submitter {
    StoreListener listener;
    Ticket last = 0;
    Ticket durable = 0;
    Ticket announced = 0;
    bool failed = false;
  };

  struct PendingRead {
    PageRequest request;
    PageReader done;
  };

  struct Submitted {
    SubmitterId submitter;
    Ticket ticket;
    StoreBatch batch;
  };

  // What survives crash().
  std::map<std::string, std::string, std::less<>> records;
  std::map<LaneId, Lane> lanes;
  std::set<LaneId> dropped;

  std::vector<Submitter> submitters;
  std::deque<Submitted> volatile_batches;
  std::deque<PendingRead> reads;  // wait for the batches before them
  std::unordered_map<GroupId, std::uint32_t> parts_submitted;
  std::optional<StoreError> failure;
  std::uint64_t run = 1;
  bool held = false;
  bool stopped = false;

  bool has_expired(const Entry& entry) const {
    return !entry.message->persistent() && entry.run != run;
  }

  StoredEntry stored(LaneId lane, Sequence seq, const Entry& entry) const;
  LanePage page(const PageRequest& request) const;
  void read_pages();
  void make_durable();
  bool groups_complete(const StoreBatch& batch) const;
  void apply(const StoreBatch& batch);
  void apply(const StoreBatch& batch, const StoreBatch::Operation& operation);
  void announce();
  void announce_failure();
};

MemoryStore::MemoryStore() : state_(std::make_unique<State>()) {}

MemoryStore::~MemoryStore() = default;

Result<void, StoreError> MemoryStore::scan_records(std::string_view prefix,
                                                   const RecordVisitor& visit) {
  for (auto it = state_->records.lower_bound(prefix); it != state_->records.end(); ++it) {
    if (!it->first.starts_with(prefix)) break;
    visit(it->first, it->second);
  }
  return {};
}

Result<std::vector<RecoveredLane>, StoreError> MemoryStore::recover_lanes(
    const std::vector<LaneId>& live) {
  std::map<LaneId, State::Lane> kept;
  std::vector<RecoveredLane> recovered;
  for (LaneId lane : live) {
    auto found = state_->lanes.find(lane);
    State::Lane& home = kept[lane];
    if (found != state_->lanes.end()) home = std::move(found->second);
    RecoveredLane& left = recovered.emplace_back();
    left.lane = lane;
    left.first_seq = left.next_seq = home.next_seq;
    if (!home.entries.empty()) left.first_seq = home.entries.begin()->first;
    for (const auto& [seq, entry] : home.entries)
      left.tally += tally_of(*entry.message);
  }
  state_->lanes = std::move(kept);
  return recovered;
}

Result<void, StoreError> MemoryStore::scan_entries(const EntryVisitor& visit) {
  for (const auto& [lane, home] : state_->lanes) {
    for (const auto& [seq, entry] : home.entries) {
      if (entry.message->persistent()) visit(state_->stored(lane, seq, entry));
    }
  }
  return {};
}

SubmitterId MemoryStore::add_submitter(StoreListener listener) {
  state_->submitters.push_back({.listener = std::move(listener)});
  return SubmitterId{static_cast<std::uint32_t>(state_->submitters.size() - 1)};
}

Ticket MemoryStore::submit(SubmitterId submitter, StoreBatch& batch) {
  HARRIER_CHECK(submitter.value < state_->submitters.size());
  HARRIER_CHECK(!state_->stopped);
  const Ticket ticket = ++state_->submitters[submitter.value].last;
  for (const StoreBatch::GroupPart& part : batch.groups()) {
    ++state_->parts_submitted[part.group];
  }
  state_->volatile_batches.push_back({submitter, ticket, std::move(batch)});
  batch = StoreBatch();
  if (state_->failure) {
    state_->announce_failure();
  } else if (!state_->held) {
    state_->make_durable();
  }
  return ticket;
}

void MemoryStore::read(const PageRequest& request, PageReader done) {
  HARRIER_CHECK(request.from < request.end);
  state_->reads.push_back({request, std::move(done)});
  if (!state_->held) state_->read_pages();
}

void MemoryStore::copy_to(std::string /*directory*/, CopyDone done) {
  done(fail(
      StoreError{StoreError::Kind::unusable, "this store is kept in memory and cannot be copied"}));
}

void MemoryStore::stop() {
  if (state_->stopped) return;
  if (!state_->failure) release();
  state_->stopped = true;
}

void MemoryStore::hold() {
  state_->held = true;
}

void MemoryStore::release() {
  state_->held = false;
  state_->make_durable();
  state_->read_pages();
}

void MemoryStore::crash() {
  state_->volatile_batches.clear();
  state_->parts_submitted.clear();
  state_->reads.clear();
}

void MemoryStore::fail_with(StoreError error) {
  state_->failure = std::move(error);
}

void MemoryStore::reopen() {
  crash();
  const bool clean = state_->stopped && !state_->failure;
  for (auto& [lane, home] : state_->lanes) {
    if (!clean) home.delivered = home.next_seq;
  }
  ++state_->run;
  state_->submitters.clear();
  state_->failure.reset();
  state_->held = false;
  state_->stopped = false;
}

// Applies the longest prefix of submitted batches in which every group is complete.
void MemoryStore::State::make_durable() {
  // A group may be completed by a later batch, which then has to be in the prefix as well.
  std::size_t prefix = 0;
  std::unordered_map<GroupId, std::uint32_t> open;
  for (std::size_t i = 0; i < volatile_batches.size(); ++i) {
    const StoreBatch& batch = volatile_batches[i].batch;
    if (!groups_complete(batch)) break;
    for (const StoreBatch::GroupPart& part : batch.groups()) {
      auto [missing, first] = open.try_emplace(part.group, part.parts);
      if (--missing->second == 0) open.erase(missing);
    }
    if (open.empty()) prefix = i + 1;
  }
  for (std::size_t i = 0; i < prefix; ++i) {
    Submitted submitted = std::move(volatile_batches.front());
    volatile_batches.pop_front();
    for (const StoreBatch::GroupPart& part : submitted.batch.groups()) {
      parts_submitted.erase(part.group);
    }
    apply(submitted.batch);
    submitters[submitted.submitter.value].durable = submitted.ticket;
  }
  announce();
}

bool MemoryStore::State::groups_complete(const StoreBatch& batch) const {
  return std::all_of(batch.groups().begin(), batch.groups().end(),
                     [this](const StoreBatch::GroupPart& part) {
                       auto found = parts_submitted.find(part.group);
                       return found != parts_submitted.end() && found->second >= part.parts;
                     });
}

void MemoryStore::State::apply(const StoreBatch& batch) {
  for (const StoreBatch::Operation& operation : batch.operations())
    apply(batch, operation);
}

void MemoryStore::State::apply(const StoreBatch& batch, const StoreBatch::Operation& operation) {
  using Kind = StoreBatch::Operation::Kind;
  const bool is_record =
      operation.kind == Kind::put_record || operation.kind == Kind::delete_record;
  // A put has its body with it.
  if (operation.kind == Kind::stage || operation.kind == Kind::unstage) return;
  if (!is_record && dropped.contains(operation.lane)) return;
  switch (operation.kind) {
    case Kind::put: {
      Lane& lane = lanes[operation.lane];
      lane.entries[operation.seq] = {operation.message, operation.enqueued_at, operation.expires_at,
                                     run};
      lane.next_seq = std::max(lane.next_seq, operation.seq + 1);
      break;
    }
    case Kind::settle:
    case Kind::settle_range: {
      Lane& lane = lanes[operation.lane];
      lane.entries.erase(lane.entries.lower_bound(operation.seq),
                         lane.entries.lower_bound(operation.end));
      lane.next_seq = std::max(lane.next_seq, operation.end);
      break;
    }
    case Kind::drop_lane:
      lanes.erase(operation.lane);
      dropped.insert(operation.lane);
      break;
    case Kind::delivered_below: {
      Lane& lane = lanes[operation.lane];
      lane.delivered = std::max(lane.delivered, operation.seq);
      lane.next_seq = std::max(lane.next_seq, operation.seq);
      break;
    }
    case Kind::put_record: {
      const StoreBatch::Record& record = batch.records()[operation.record];
      records[record.key] = record.value;
      break;
    }
    case Kind::delete_record:
      records.erase(batch.records()[operation.record].key);
      break;
    case Kind::stage:
    case Kind::unstage:
      break;
  }
}

StoredEntry MemoryStore::State::stored(LaneId lane, Sequence seq, const Entry& entry) const {
  return {.lane = lane,
          .seq = seq,
          .message = entry.message,
          .enqueued_at = entry.enqueued_at,
          .expires_at = entry.expires_at,
          .redelivered = seq < lanes.at(lane).delivered};
}

LanePage MemoryStore::State::page(const PageRequest& request) const {
  LanePage page;
  page.next = request.end;
  const auto found = lanes.find(request.lane);
  if (found == lanes.end()) return page;
  const auto& entries = found->second.entries;
  std::size_t bytes = 0;
  for (auto it = entries.lower_bound(request.from); it != entries.end() && it->first < request.end;
       ++it) {
    if (has_expired(it->second)) continue;
    if (!page.entries.empty() && bytes >= request.bytes_max) {
      page.next = it->first;
      break;
    }
    bytes += it->second.message->footprint();
    page.entries.push_back(stored(request.lane, it->first, it->second));
  }
  return page;
}

// Taken first: a reader may read again.
void MemoryStore::State::read_pages() {
  while (!reads.empty() && !failure) {
    PendingRead read = std::move(reads.front());
    reads.pop_front();
    read.done(page(read.request));
  }
}

// By index and with the news taken first: a listener may submit again.
void MemoryStore::State::announce() {
  for (std::size_t i = 0; i < submitters.size(); ++i) {
    const Ticket durable = submitters[i].durable;
    if (durable == std::exchange(submitters[i].announced, durable)) continue;
    if (submitters[i].listener.on_durable) submitters[i].listener.on_durable(durable);
  }
}

void MemoryStore::State::announce_failure() {
  for (std::size_t i = 0; i < submitters.size(); ++i) {
    if (std::exchange(submitters[i].failed, true)) continue;
    if (submitters[i].listener.on_failure) submitters[i].listener.on_failure(*failure);
  }
}

}  // namespace harrier
