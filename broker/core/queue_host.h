#pragma once

#include <optional>

#include "base/task.h"
#include "broker/core/message_memory.h"
#include "storage/store.h"

namespace harrier {

class Queue;

// What a queue needs from its shard. Outlives the queue.
class QueueHost {
 public:
  virtual ~QueueHost() = default;

  // What this turn wants durable; the same object in every turn.
  virtual StoreBatch& batch() = 0;

  // What the queues of this shard may keep in memory.
  virtual MessageMemory& memory() = 0;

  // A lane for a queue that has none and wants to page out. None while they are being fetched: ask
  // again for the next message.
  virtual std::optional<LaneId> take_lane() = 0;

  // Reads a page of the queue's lane once what this turn recorded is submitted; the answer is
  // Queue::paged_in in a later turn, unless the queue is gone by then.
  virtual void read(Queue& queue, const PageRequest& request) = 0;

  // Runs `task` in a later turn: for an answer whose receiver may call the queue again.
  virtual void later(Task task) = 0;
};

}  // namespace harrier
