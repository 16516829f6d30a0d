#include "storage/lane_page.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/core.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>

#include "storage/block.h"
#include "storage/body_store.h"

namespace harrier {

namespace {

ByteView view(const rocksdb::Slice& octets) {
  return {octets.data(), octets.size()};
}

rocksdb::Slice slice(ByteView octets) {
  return {octets.data(), octets.size()};
}

BodyKey first_chunk(Epoch epoch, const BlockEntry& entry) {
  const auto& runs = entry.body_place.runs;
  return {runs.empty() ? epoch : runs.front().epoch, entry.body_place.id, 0};
}

// The way through one page, from epoch to epoch.
class PageWalk {
 public:
  PageWalk(const Columns& columns, std::uint64_t first_run, const PagePlan& plan)
      : columns_(columns),
        first_run_(first_run),
        plan_(plan),
        bodies_(columns),
        at_(plan.request.from) {}

  LanePage page() {
    for (auto epoch = plan_.epochs.begin(); epoch != plan_.epochs.end() && goes_on(); ++epoch) {
      read_epoch(*epoch);
    }
    page_.next = full_ ? at_ : plan_.request.end;
    return std::move(page_);
  }

 private:
  bool goes_on() const { return !full_ && at_ < plan_.request.end; }

  void read_epoch(Epoch epoch) {
    if (skip_settled() && !goes_on()) return;
    const LaneId lane = plan_.request.lane;
    const auto begin = encode(BlockKey{epoch, lane, at_});
    const auto end = encode(BlockKey{epoch, lane, UINT64_MAX});
    const rocksdb::Slice lower = slice(begin.view());
    const rocksdb::Slice upper = slice(end.view());
    rocksdb::ReadOptions options;
    options.iterate_lower_bound = &lower;
    options.iterate_upper_bound = &upper;
    options.fill_cache = false;  // nobody reads a block twice
    options.verify_checksums = true;
    const std::unique_ptr<rocksdb::Iterator> it(columns_.db->NewIterator(options, columns_.msg));
    for (it->Seek(lower); it->Valid() && goes_on(); it->Next()) {
      read_block(view(it->key()), view(it->value()));
    }
    if (!it->status().ok()) {
      const StoreError error = store_error(it->status(), "reading messages");
      damaged(error.kind, fmt::format("the messages of lane {} from {} on cannot be read: {}",
                                      lane.value, at_, error.detail));
    }
  }

  void read_block(ByteView octets, ByteView value) {
    const auto key = decode_block_key(octets);
    if (!key) return damaged_block(octets, plan_.request.end);
    BlockReader block(*key, value);
    while (goes_on()) {
      const auto entry = block.next();
      if (!entry) break;
      read_entry(*key, *entry, block.run());
    }
    if (!block.ok()) return damaged_block(octets, key->last_seq);
    if (!full_) at_ = std::max(at_, key->last_seq + 1);
  }

  void read_entry(const BlockKey& key, const BlockEntry& entry, std::uint64_t run) {
    if (entry.seq < at_) return;
    at_ = entry.seq;
    const bool is_forgotten = !entry.parts.persistent && run < first_run_;
    if (is_forgotten || skip_settled() || !goes_on()) return;
    if (!page_.entries.empty() && bytes_ >= plan_.request.bytes_max) {
      full_ = true;
      return;
    }
    MessageRef message = bodies_.message(key.epoch, entry);
    if (!message) return lost_body(key, entry);
    bytes_ += message->footprint();
    page_.entries.push_back({.lane = plan_.request.lane,
                             .seq = entry.seq,
                             .message = std::move(message),
                             .enqueued_at = entry.enqueued_at,
                             .expires_at = entry.expires_at,
                             .redelivered = entry.seq < plan_.delivered});
    ++at_;
  }

  // Whether there was something to skip.
  bool skip_settled() {
    while (settled_ < plan_.settled.size() && plan_.settled[settled_].end <= at_)
      ++settled_;
    if (settled_ == plan_.settled.size() || plan_.settled[settled_].begin > at_) return false;
    at_ = plan_.settled[settled_].end;
    return true;
  }

  // Either it is damaged, or all of an epoch was settled and deleted since the plan was made, the
  // blocks before the bodies. Of a staged body an epoch may be gone that holds chunks only.
  void lost_body(const BlockKey& key, const BlockEntry& entry) {
    const auto octets = encode(key);
    std::string ignored;
    const rocksdb::Status found =
        columns_.db->Get(rocksdb::ReadOptions(), columns_.msg, slice(octets.view()), &ignored);
    if (found.IsNotFound() || bodies_.is_collected(key.epoch, entry)) return;
    damaged(StoreError::Kind::corruption,
            fmt::format("message {} of lane {} cannot be read: its body is damaged or missing "
                        "(key {}); the data directory needs a repair or a backup",
                        entry.seq, key.lane.value,
                        to_hex(encode(first_chunk(key.epoch, entry)).view())));
  }

  // A block that ends with `last`. No harm if all in it is settled.
  void damaged_block(ByteView key, Sequence last) {
    skip_settled();
    if (at_ > last || !goes_on()) return;
    damaged(StoreError::Kind::corruption,
            fmt::format("messages {} to {} of lane {} cannot be read: their block is damaged (key "
                        "{}); the data directory needs a repair or a backup",
                        at_, last, plan_.request.lane.value, to_hex(key)));
  }

  void damaged(StoreError::Kind kind, std::string detail) {
    page_.damage = StoreError{kind, std::move(detail)};
    full_ = true;
  }

  const Columns& columns_;
  const std::uint64_t first_run_;
  const PagePlan& plan_;
  BodyReader bodies_;
  LanePage page_;
  Sequence at_;  // everything below is in the page or gone
  std::size_t settled_ = 0;
  std::size_t bytes_ = 0;
  bool full_ = false;
};

}  // namespace

PagePlan plan_page(const LaneState* lane, const PageRequest& request) {
  PagePlan plan{.request = request, .delivered = 0, .epochs = {}, .settled = {}};
  if (lane == nullptr) return plan;
  plan.delivered = lane->delivered;
  const Sequence from = std::max(request.from, lane->settled.floor());
  if (from > request.from) plan.settled.push_back({request.from, from});
  if (from >= request.end) return plan;
  auto run = std::lower_bound(lane->runs.begin(), lane->runs.end(), from,
                              [](const LaneRun& r, Sequence seq) { return r.last_seq < seq; });
  for (; run != lane->runs.end() && run->first_seq < request.end; ++run) {
    plan.epochs.push_back(run->epoch);
  }
  const auto ranges = lane->settled.ranges();
  auto range = std::lower_bound(ranges.begin(), ranges.end(), from,
                                [](const SequenceRange& r, Sequence seq) { return r.end <= seq; });
  for (; range != ranges.end() && range->begin < request.end; ++range) {
    plan.settled.push_back(*range);
  }
  return plan;
}

LanePage read_page(const Columns& columns, std::uint64_t first_run, const PagePlan& plan) {
  return PageWalk(columns, first_run, plan).page();
}

}  // namespace harrier
