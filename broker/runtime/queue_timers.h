#pragma once

#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "broker/core/ids.h"
#include "storage/store.h"

namespace harrier {

// When which queue of a shard wants to look at its messages: one time per queue, the earliest it
// asked for, however many messages expire. O(log queues). Confined to its shard.
class QueueTimers {
 public:
  // A later time than the one that stands is ignored: the queue asks again when it is woken.
  void add(QueueId queue, Timestamp at) {
    const auto [place, is_new] = wanted_.try_emplace(queue, at);
    if (!is_new) {
      if (place->second <= at) return;
      due_.erase({place->second, queue});
      place->second = at;
    }
    due_.emplace(at, queue);
  }

  // The queue is gone.
  void remove(QueueId queue) {
    const auto place = wanted_.find(queue);
    if (place == wanted_.end()) return;
    due_.erase({place->second, queue});
    wanted_.erase(place);
  }

  std::optional<Timestamp> next() const {
    if (due_.empty()) return std::nullopt;
    return due_.begin()->first;
  }

  // Takes the first queue whose time has come by `now`.
  std::optional<QueueId> take_due(Timestamp now) {
    if (due_.empty() || due_.begin()->first > now) return std::nullopt;
    const QueueId queue = due_.begin()->second;
    due_.erase(due_.begin());
    wanted_.erase(queue);
    return queue;
  }

 private:
  std::unordered_map<QueueId, Timestamp> wanted_;
  std::set<std::pair<Timestamp, QueueId>> due_;  // the same, by time
};

}  // namespace harrier
