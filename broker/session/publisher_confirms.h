#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "storage/store.h"

namespace harrier {

// The publishes of a channel in confirm mode that have no answer yet. Answers leave in publish
// order, so that a run of them is one basic.ack with `multiple`.
class PublisherConfirms {
 public:
  // A new publish; returns its sequence number, the first is 1. `ticket` must be durable on this
  // shard before it is confirmed, 0 if nothing of it is stored here.
  std::uint64_t add(Ticket ticket, std::uint32_t shares_elsewhere) {
    waiting_.push_back({ticket, shares_elsewhere});
    return first_ + waiting_.size() - 1;
  }

  // The number the next add() returns.
  std::uint64_t next() const { return first_ + waiting_.size(); }

  // Another shard has done its part of publish `number`.
  void share_done(std::uint64_t number) {
    if (number >= first_ && number < next()) {
      --waiting_[static_cast<std::size_t>(number - first_)].shares_elsewhere;
    }
  }

  // Number of the last publish of the run that can be confirmed now and is taken out; 0 if none.
  // `count` is the length of the run.
  std::uint64_t take_ready(Ticket durable, std::size_t& count) {
    count = 0;
    while (!waiting_.empty() && waiting_.front().ticket <= durable &&
           waiting_.front().shares_elsewhere == 0) {
      waiting_.pop_front();
      ++first_;
      ++count;
    }
    return count == 0 ? 0 : first_ - 1;
  }

  std::size_t unconfirmed() const { return waiting_.size(); }

 private:
  struct Waiting {
    Ticket ticket;
    std::uint32_t shares_elsewhere;
  };

  std::uint64_t first_ = 1;  // number of waiting_.front()
  std::deque<Waiting> waiting_;
};

}  // namespace harrier
