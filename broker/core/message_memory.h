#pragma once

#include <algorithm>
#include <cstdint>

#include "base/assert.h"

namespace harrier {

// How much memory the messages of one shard's queues take, and how much they may. The budget is
// shared without a plan: a queue may hold as much as is still free, so that a lone queue gets half
// of it, and a thousand equal ones a thousandth each. Confined to its shard.
class MessageMemory {
 public:
  // What every queue may hold, whatever the others do. Octets.
  static constexpr std::uint64_t kQueueMin = std::uint64_t{4} << 10;

  explicit MessageMemory(std::uint64_t budget) : budget_(budget) {}

  std::uint64_t used() const { return used_; }

  std::uint64_t budget() const { return budget_; }

  // What is held already stays: the budget concerns what comes.
  void set_budget(std::uint64_t octets) { budget_ = octets; }

  // Octets that are still free; 0 when more is used than there should be.
  std::uint64_t free() const { return budget_ - std::min(used_, budget_); }

  // Whether a queue that holds `held` octets may hold `more`.
  bool may_hold(std::uint64_t held, std::uint64_t more) const {
    return held + more <= std::max(free(), kQueueMin);
  }

  void add(std::uint64_t octets) { used_ += octets; }

  void remove(std::uint64_t octets) {
    HARRIER_DCHECK(octets <= used_);
    used_ -= octets;
  }

 private:
  std::uint64_t budget_;
  std::uint64_t used_ = 0;
};

}  // namespace harrier
