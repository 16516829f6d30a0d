#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "storage/store.h"

namespace harrier {

// The end of a queue that is only on disk: consecutive sequences, all ready, none of them handed
// out since the start. Grows at its end, shrinks at its begin by the pages that are read back.
class Backlog {
 public:
  bool empty() const { return begin_ == end_; }

  Sequence begin() const { return begin_; }

  Sequence end() const { return end_; }

  std::size_t count() const { return count_; }

  // Nothing in it is due before this.
  Timestamp deadline() const { return deadline_; }

  // What was recovered may be due at any time.
  void expect_deadlines() { deadline_ = Timestamp::min(); }

  // Octets of the bodies.
  std::uint64_t bytes() const { return bytes_; }

  // Of what a restart would find.
  const Tally& tally() const { return tally_; }

  void recover(const RecoveredLane& lane) {
    begin_ = lane.first_seq;
    end_ = lane.next_seq;
    tally_ = lane.tally;
    count_ = static_cast<std::size_t>(tally_.entries);
    bytes_ = tally_.bytes;
  }

  // Appends a message that was put under the sequence returned; `at` is where the part in memory
  // ends, if there is no backlog yet.
  Sequence push(const Message& message, Sequence at, Timestamp expires_at) {
    if (empty()) begin_ = end_ = at;
    if (expires_at != kNoTime) deadline_ = std::min(deadline_, expires_at);
    ++count_;
    bytes_ += message.body().size();
    tally_ += tally_of(message);
    return end_++;
  }

  // `message` was read back.
  void pop(const Message& message) { remove(tally_of(message), message.body().size()); }

  // A message is gone, of which the store had `gone`.
  void remove(const Tally& gone, std::uint64_t body_bytes) {
    count_ -= std::min<std::size_t>(count_, 1);
    bytes_ -= std::min(bytes_, body_bytes);
    tally_.entries -= std::min(tally_.entries, gone.entries);
    tally_.bytes -= std::min(tally_.bytes, gone.bytes);
  }

  // Everything below `seq` was read back.
  void advance_to(Sequence seq) { begin_ = seq; }

  // Nothing is left of it.
  void clear() {
    begin_ = end_;
    count_ = 0;
    bytes_ = 0;
    tally_ = {};
    deadline_ = Timestamp::max();
  }

 private:
  Sequence begin_ = 1;
  Sequence end_ = 1;
  std::size_t count_ = 0;
  std::uint64_t bytes_ = 0;
  Tally tally_;
  Timestamp deadline_ = Timestamp::max();
};

}  // namespace harrier
