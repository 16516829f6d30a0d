#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/assert.h"
#include "broker/core/exchange.h"

namespace harrier {

// Destinations of the bindings an exchange type need not tell apart, each once however many
// bindings lead there. Iterating is a walk over a vector; add and remove are O(1), by a search of
// a few slots while the set is small and by a hash index once it is not.
class DestinationSet {
 public:
  bool empty() const { return slots_.empty(); }

  std::size_t size() const { return slots_.size(); }

  Destination operator[](std::size_t at) const { return slots_[at]; }

  void add(Destination destination) {
    const std::size_t at = find(destination);
    if (at < slots_.size()) {
      ++bindings_[at];
      return;
    }
    slots_.push_back(destination);
    bindings_.push_back(1);
    if (!index_.empty()) {
      index_.emplace(identity(destination), at);
    } else if (slots_.size() > kSearchedSlotsMax) {
      build_index();
    }
  }

  // `destination` must have been added as often as it is removed.
  void remove(Destination destination) {
    const std::size_t at = find(destination);
    HARRIER_CHECK(at < slots_.size());
    if (--bindings_[at] > 0) return;
    const std::size_t last = slots_.size() - 1;
    if (!index_.empty()) {
      index_.erase(identity(destination));
      if (at != last) index_[identity(slots_[last])] = at;
    }
    slots_[at] = slots_[last];
    bindings_[at] = bindings_[last];
    slots_.pop_back();
    bindings_.pop_back();
  }

  void append_to(Destinations& out) const { out.insert(out.end(), slots_.begin(), slots_.end()); }

 private:
  static constexpr std::size_t kSearchedSlotsMax = 16;

  static const void* identity(Destination destination) {
    if (destination.queue != nullptr) return destination.queue;
    return destination.exchange;
  }

  // The slot of `destination`, or slots_.size().
  std::size_t find(Destination destination) const {
    if (!index_.empty()) {
      const auto found = index_.find(identity(destination));
      return found == index_.end() ? slots_.size() : found->second;
    }
    std::size_t at = 0;
    while (at < slots_.size() && slots_[at] != destination)
      ++at;
    return at;
  }

  void build_index() {
    for (std::size_t at = 0; at < slots_.size(); ++at)
      index_.emplace(identity(slots_[at]), at);
  }

  std::vector<Destination> slots_;
  std::vector<std::uint32_t> bindings_;  // how many lead to the destination of the same slot
  std::unordered_map<const void*, std::size_t> index_;  // empty while the set is small
};

}  // namespace harrier
