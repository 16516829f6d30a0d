#pragma once

#include <algorithm>
#include <iterator>
#include <map>

#include "storage/store.h"

namespace harrier {

// Sequences that were taken out of the middle of a backlog: its pages may still bring them, until
// their end is written. Kept as ranges, so a stretch of them costs one node of a map.
class Withdrawn {
 public:
  bool empty() const { return ends_.empty(); }

  bool contains(Sequence seq) const {
    const auto after = ends_.upper_bound(seq);
    return after != ends_.begin() && seq < std::prev(after)->second;
  }

  // Where the stretch that holds `seq` ends; `seq` itself if none does.
  Sequence end_from(Sequence seq) const {
    const auto after = ends_.upper_bound(seq);
    return after == ends_.begin() ? seq : std::max(seq, std::prev(after)->second);
  }

  // Where the first `count` sequences from `begin` on end that are not in it. O(stretches).
  Sequence end_of(Sequence begin, std::size_t count) const {
    Sequence end = begin + count;
    for (auto stretch = ends_.begin(); stretch != ends_.end() && stretch->first < end; ++stretch)
      end += stretch->second - stretch->first;
    return end;
  }

  // One that is not in it.
  void add(Sequence seq) {
    Sequence end = seq + 1;
    if (const auto next = ends_.find(end); next != ends_.end()) {
      end = next->second;
      ends_.erase(next);
    }
    const auto after = ends_.upper_bound(seq);
    if (after != ends_.begin() && std::prev(after)->second == seq) {
      std::prev(after)->second = end;
    } else {
      ends_.emplace(seq, end);
    }
  }

  // Nobody asks for these any more.
  void drop_below(Sequence seq) {
    while (!ends_.empty() && ends_.begin()->second <= seq)
      ends_.erase(ends_.begin());
  }

  void clear() { ends_.clear(); }

 private:
  std::map<Sequence, Sequence> ends_;  // by begin
};

}  // namespace harrier
