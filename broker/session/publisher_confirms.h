#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "storage/store.h"

namespace harrier {

// What became of a publish, or of a shard's share in it.
enum class Verdict : std::uint8_t {
  taken,
  refused,  // by a full queue
};

// The publishes of a channel in confirm mode that have no answer yet. Answers leave in publish
// order, so that a run of them is one basic.ack, or basic.nack, with `multiple`.
class PublisherConfirms {
 public:
  // A new publish; returns its sequence number, the first is 1. `ticket` must be durable on this
  // shard before it is answered, 0 if nothing of it is stored here.
  std::uint64_t add(Ticket ticket, std::uint32_t shares_elsewhere,
                    Verdict verdict = Verdict::taken) {
    waiting_.push_back({ticket, shares_elsewhere, verdict});
    return first_ + waiting_.size() - 1;
  }

  // The number the next add() returns.
  std::uint64_t next() const { return first_ + waiting_.size(); }

  // Another shard has done its part of publish `number`. One that any queue refused is refused.
  void share_done(std::uint64_t number, Verdict verdict = Verdict::taken) {
    if (number < first_ || number >= next()) return;
    Waiting& publish = waiting_[static_cast<std::size_t>(number - first_)];
    --publish.shares_elsewhere;
    if (verdict == Verdict::refused) publish.verdict = Verdict::refused;
  }

  // Publishes with the same answer, up to number `last`.
  struct Run {
    std::uint64_t last = 0;
    std::size_t count = 0;  // 0: none can be answered now
    Verdict verdict = Verdict::taken;
  };

  // Takes out the longest run at the front that can be answered now.
  Run take_ready(Ticket durable) {
    Run run;
    while (!waiting_.empty() && waiting_.front().ticket <= durable &&
           waiting_.front().shares_elsewhere == 0) {
      if (run.count == 0) run.verdict = waiting_.front().verdict;
      if (waiting_.front().verdict != run.verdict) break;
      waiting_.pop_front();
      ++run.count;
      run.last = first_++;
    }
    return run;
  }

  std::size_t unconfirmed() const { return waiting_.size(); }

 private:
  struct Waiting {
    Ticket ticket;
    std::uint32_t shares_elsewhere;
    Verdict verdict;
  };

  std::uint64_t first_ = 1;  // number of waiting_.front()
  std::deque<Waiting> waiting_;
};

}  // namespace harrier
