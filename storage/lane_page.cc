#include "storage/lane_page.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>

#include "base/log.h"
#include "storage/block.h"
#include "storage/body_store.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");

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
  PageWalk(const Columns& columns, std::uint64_t first_run, const PagePlan& plan,
           OnDamage on_damage)
      : columns_(columns),
        first_run_(first_run),
        plan_(plan),
        on_damage_(on_damage),
        bodies_(columns),
        at_(plan.request.from) {}

  LanePage page() {
    for (auto epoch = plan_.epochs.begin(); epoch != plan_.epochs.end() && goes_on(); ++epoch) {
      read_epoch(*epoch);
    }
    page_.next = full_ ? at_ : plan_.request.end;
    end_loss(page_.next);
    tell_losses();
    return std::move(page_);
  }

 private:
  bool goes_on() const { return !full_ && at_ < plan_.request.end; }

  // Whether the page needs more of `epoch`.
  bool needs(const PageEpoch& epoch) {
    if (full_) return false;
    skip_settled();
    return goes_on() && at_ <= epoch.last_seq;
  }

  void read_epoch(const PageEpoch& epoch) {
    if (!needs(epoch)) return;
    const LaneId lane = plan_.request.lane;
    const auto begin = encode(BlockKey{epoch.epoch, lane, at_});
    const auto end = encode(BlockKey{epoch.epoch, lane, UINT64_MAX});
    const rocksdb::Slice lower = slice(begin.view());
    const rocksdb::Slice upper = slice(end.view());
    rocksdb::ReadOptions options;
    options.iterate_lower_bound = &lower;
    options.iterate_upper_bound = &upper;
    options.fill_cache = false;  // nobody reads a block twice
    options.verify_checksums = true;
    const std::unique_ptr<rocksdb::Iterator> it(columns_.db->NewIterator(options, columns_.msg));
    Sequence sought = at_;
    it->Seek(lower);
    for (;;) {
      while (it->Valid() && needs(epoch)) {
        read_block(view(it->key()), view(it->value()));
        if (needs(epoch)) it->Next();  // reads the next block
      }
      if (it->status().ok() || !needs(epoch)) return;
      if (std::exchange(sought, at_) < at_) {  // what is damaged may all be settled
        it->Seek(slice(encode(BlockKey{epoch.epoch, lane, at_}).view()));
      } else if (!pass_over(*it)) {
        return;
      }
    }
  }

  // Leads to the first block that can be reached from the end of the epoch. False if there is none.
  bool pass_over(rocksdb::Iterator& it) {
    const StoreError error = store_error(it.status(), "reading messages");
    lose(error.kind, fmt::format("the messages of lane {} from {} on cannot be read: {}",
                                 plan_.request.lane.value, at_, error.detail));
    if (full_) return false;
    std::string resume;
    for (it.SeekToLast(); it.Valid(); it.Prev()) {
      const auto key = decode_block_key(view(it.key()));
      if (!key || key->last_seq < at_) break;
      resume = it.key().ToString();
    }
    if (!resume.empty()) it.Seek(resume);
    return !resume.empty() && it.Valid();
  }

  void read_block(ByteView octets, ByteView value) {
    const auto key = decode_block_key(octets);
    if (!key) {
      return lose(StoreError::Kind::corruption,
                  fmt::format("messages of lane {} from {} on are under an unknown key ({})",
                              plan_.request.lane.value, at_, to_hex(octets)));
    }
    BlockReader block(*key, value);
    while (goes_on()) {
      const auto entry = block.next();
      if (!entry) break;
      read_entry(*key, *entry, block.run());
    }
    if (!block.ok()) return lose_block(*key);
    if (!full_) at_ = std::max(at_, key->last_seq + 1);
  }

  void read_entry(const BlockKey& key, const BlockEntry& entry, std::uint64_t run) {
    if (entry.seq < at_) return;
    at_ = entry.seq;
    end_loss(at_);
    const bool is_forgotten = !entry.parts.persistent && run < first_run_;
    if (is_forgotten || skip_settled() || !goes_on()) return;
    if (!page_.entries.empty() && bytes_ >= plan_.request.bytes_max) {
      full_ = true;
      return;
    }
    MessageRef message = bodies_.message(key.epoch, entry);
    if (!message) return lose_body(key, entry);
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

  // Either it is damaged, or all of an epoch was settled and deleted since the plan was made.
  void lose_body(const BlockKey& key, const BlockEntry& entry) {
    if (const auto error = bodies_.read_error()) return lose(error->kind, error->detail);
    const auto octets = encode(key);
    std::string ignored;
    const rocksdb::Status found =
        columns_.db->Get(rocksdb::ReadOptions(), columns_.msg, slice(octets.view()), &ignored);
    if (found.IsNotFound() || bodies_.is_collected(key.epoch, entry)) return;
    lose(StoreError::Kind::corruption,
         fmt::format(
             "message {} of lane {} cannot be read: its body is damaged or missing (key {})",
             entry.seq, key.lane.value, to_hex(encode(first_chunk(key.epoch, entry)).view())));
    if (full_) return;
    at_ = entry.seq + 1;
    end_loss(at_);
  }

  // No harm if all in it is settled.
  void lose_block(const BlockKey& key) {
    if (!needs({key.epoch, key.last_seq})) return;
    lose(StoreError::Kind::corruption,
         fmt::format("messages {} to {} of lane {} cannot be read: their block is damaged (key {})",
                     at_, key.last_seq, plan_.request.lane.value, to_hex(encode(key).view())));
    if (full_) return;
    at_ = key.last_seq + 1;
    end_loss(at_);
  }

  // From here on something cannot be read: the end of the page, unless that is accepted.
  void lose(StoreError::Kind kind, std::string what) {
    const bool is_corruption = kind == StoreError::Kind::corruption;
    if (!is_corruption || on_damage_ != OnDamage::accept) {
      if (is_corruption) what += fmt::format("; {}", kDamageMend);
      page_.damage = StoreError{kind, std::move(what)};
      full_ = true;
      return;
    }
    if (!lost_from_) lost_from_ = at_;
    if (why_lost_.empty()) why_lost_ = std::move(what);
  }

  // What was lost ends in front of `seq`.
  void end_loss(Sequence seq) {
    if (lost_from_) lost_.push_back({*lost_from_, seq});
    lost_from_.reset();
  }

  void tell_losses() {
    normalize(lost_);
    if (lost_.empty()) return;
    std::string ranges;
    for (std::size_t i = 0; i < std::min(lost_.size(), kRangesTold); ++i)
      ranges += fmt::format(", {} to {}", lost_[i].begin, lost_[i].end - 1);
    if (lost_.size() > kRangesTold) {
      ranges +=
          fmt::format(", and {} ranges up to {}", lost_.size() - kRangesTold, lost_.back().end - 1);
    }
    kLog.warning("accepted: lane {} has lost what was there of these sequences{}: {}",
                 plan_.request.lane.value, ranges, why_lost_);
  }

  static constexpr std::size_t kRangesTold = 8;

  const Columns& columns_;
  const std::uint64_t first_run_;
  const PagePlan& plan_;
  const OnDamage on_damage_;
  BodyReader bodies_;
  LanePage page_;
  Sequence at_;  // everything below is in the page or gone
  std::size_t settled_ = 0;
  std::size_t bytes_ = 0;
  bool full_ = false;
  std::optional<Sequence> lost_from_;
  std::vector<SequenceRange> lost_;
  std::string why_lost_;  // the first of them
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
    plan.epochs.push_back({run->epoch, run->last_seq});
  }
  const auto ranges = lane->settled.ranges();
  auto range = std::lower_bound(ranges.begin(), ranges.end(), from,
                                [](const SequenceRange& r, Sequence seq) { return r.end <= seq; });
  for (; range != ranges.end() && range->begin < request.end; ++range) {
    plan.settled.push_back(*range);
  }
  return plan;
}

LanePage read_page(const Columns& columns, std::uint64_t first_run, const PagePlan& plan,
                   OnDamage on_damage) {
  return PageWalk(columns, first_run, plan, on_damage).page();
}

}  // namespace harrier
