#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "broker/core/ids.h"
#include "storage/store.h"

namespace harrier {

// When which queue of a shard wants to look at its messages. A queue asks again only for an earlier
// time, so that it has few places here, however many messages expire. Confined to its shard.
class QueueTimers {
 public:
  void add(QueueId queue, Timestamp at) {
    due_.push_back({at, queue});
    std::push_heap(due_.begin(), due_.end(), Later{});
  }

  std::optional<Timestamp> next() const {
    if (due_.empty()) return std::nullopt;
    return due_.front().at;
  }

  // Takes the first queue whose time has come by `now`; it may be gone.
  std::optional<QueueId> take_due(Timestamp now) {
    if (due_.empty() || due_.front().at > now) return std::nullopt;
    const QueueId queue = due_.front().queue;
    std::pop_heap(due_.begin(), due_.end(), Later{});
    due_.pop_back();
    return queue;
  }

 private:
  struct Due {
    Timestamp at;
    QueueId queue;
  };

  struct Later {
    bool operator()(const Due& a, const Due& b) const { return a.at > b.at; }
  };

  std::vector<Due> due_;  // a min-heap
};

}  // namespace harrier
