#include "storage/store.h"

#include <utility>

#include "base/assert.h"

namespace harrier {

void StoreBatch::put(LaneId lane, Sequence seq, MessageRef message, Timestamp enqueued_at,
                     Timestamp expires_at) {
  bytes_ += message->footprint();
  if (message->stored_body() != BodyNumber{}) {
    bytes_ -= message->body().size();
    has_staged_puts_ = true;
  }
  operations_.push_back({.kind = Operation::Kind::put,
                         .lane = lane,
                         .seq = seq,
                         .message = std::move(message),
                         .enqueued_at = enqueued_at,
                         .expires_at = expires_at});
}

void StoreBatch::settle(LaneId lane, Sequence seq, Tally was) {
  operations_.push_back(
      {.kind = Operation::Kind::settle, .lane = lane, .seq = seq, .end = seq + 1, .tally = was});
}

void StoreBatch::settle_range(LaneId lane, Sequence begin, Sequence end, Tally were) {
  operations_.push_back({.kind = Operation::Kind::settle_range,
                         .lane = lane,
                         .seq = begin,
                         .end = end,
                         .tally = were});
}

void StoreBatch::drop_lane(LaneId lane) {
  operations_.push_back({.kind = Operation::Kind::drop_lane, .lane = lane});
}

void StoreBatch::delivered_below(LaneId lane, Sequence delivered) {
  operations_.push_back({.kind = Operation::Kind::delivered_below, .lane = lane, .seq = delivered});
}

void StoreBatch::put_record(std::string key, std::string value) {
  operations_.push_back(
      {.kind = Operation::Kind::put_record, .record = static_cast<std::uint32_t>(records_.size())});
  records_.push_back({std::move(key), std::move(value)});
}

void StoreBatch::delete_record(std::string key) {
  operations_.push_back({.kind = Operation::Kind::delete_record,
                         .record = static_cast<std::uint32_t>(records_.size())});
  records_.push_back({std::move(key), {}});
}

void StoreBatch::stage(BodyNumber body, MessageRef message, std::size_t offset,
                       std::size_t octets) {
  HARRIER_CHECK(offset % kBodyPartUnit == 0 && offset + octets <= message->body().size());
  HARRIER_CHECK(octets % kBodyPartUnit == 0 || offset + octets == message->body().size());
  bytes_ += octets;
  operations_.push_back({.kind = Operation::Kind::stage,
                         .message = std::move(message),
                         .record = static_cast<std::uint32_t>(parts_.size())});
  parts_.push_back({body, offset, octets});
}

void StoreBatch::unstage(BodyNumber body) {
  operations_.push_back(
      {.kind = Operation::Kind::unstage, .record = static_cast<std::uint32_t>(parts_.size())});
  parts_.push_back({body, 0, 0});
}

void StoreBatch::join_group(GroupId group, std::uint32_t parts) {
  groups_.push_back({group, parts});
}

void StoreBatch::clear() {
  operations_.clear();
  records_.clear();
  parts_.clear();
  groups_.clear();
  bytes_ = 0;
  sync_wanted_ = false;
  has_staged_puts_ = false;
}

}  // namespace harrier
