#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "storage/store.h"

namespace harrier {

// A time that never comes.
inline constexpr Timestamp kNever = Timestamp::max();

// When the messages of a level expire. Most come in the order of their deadlines: then the oldest
// ready message tells when the next one is due, and nothing is kept here. Those whose deadline is
// earlier than that of one before them have a place in a heap (16 octets each) until it is over.
// A message without a deadline counts as one that is due never.
class Deadlines {
 public:
  // `seq` came behind all others. `expires_at` may be kNoTime.
  void add(Sequence seq, Timestamp expires_at) {
    const Timestamp at = expires_at == kNoTime ? kNever : expires_at;
    if (at >= latest_) {
      latest_ = at;
      return;
    }
    early_.push_back({at, seq});
    std::push_heap(early_.begin(), early_.end(), Later{});
  }

  // As add() of one that never expires: what comes later is due before it.
  void add_endless() { latest_ = kNever; }

  // There is no message any more.
  void reset() {
    latest_ = Timestamp::min();
    early_.clear();
  }

  // Of those in the heap; kNever if it is empty.
  Timestamp earliest() const { return early_.empty() ? kNever : early_.front().at; }

  // Takes the one that is due first.
  Sequence pop() {
    std::pop_heap(early_.begin(), early_.end(), Later{});
    const Sequence seq = early_.back().seq;
    early_.pop_back();
    return seq;
  }

  std::size_t size() const { return early_.size(); }

  // Forgets those that are gone: settled before they were due.
  template <class IsThere>
  void keep_if(IsThere is_there) {
    std::erase_if(early_, [&](const Early& one) { return !is_there(one.seq); });
    std::make_heap(early_.begin(), early_.end(), Later{});
  }

 private:
  struct Early {
    Timestamp at;
    Sequence seq;
  };

  struct Later {
    bool operator()(const Early& a, const Early& b) const { return a.at > b.at; }
  };

  Timestamp latest_ = Timestamp::min();
  std::vector<Early> early_;  // a min-heap
};

}  // namespace harrier
