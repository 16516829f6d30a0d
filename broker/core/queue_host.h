#pragma once

#include <optional>

#include "base/task.h"
#include "broker/core/dead_letter.h"
#include "broker/core/message_memory.h"
#include "storage/store.h"

namespace harrier {

class Queue;

// What a queue needs from its shard. Outlives the queue.
class QueueHost {
 public:
  virtual ~QueueHost() = default;

  // Time of this turn.
  virtual Timestamp now() const = 0;

  // Calls Queue::tick once it is `at`, unless the queue is gone by then. Whatever else was asked
  // for stays; a call too many does no harm.
  virtual void wake_at(Queue& queue, Timestamp at) = 0;

  // Nobody used the queue for as long as it may be unused: deletes it, in a later turn.
  virtual void delete_unused(Queue& queue) = 0;

  // Takes a dead message to where the queue's dead letters go, then calls Queue::buried: in this
  // turn, or a later one.
  virtual void dead_letter(Queue& queue, DeadLetter letter) = 0;

  // What this turn wants durable; the same object in every turn.
  virtual StoreBatch& batch() = 0;

  // What the queues of this shard may keep in memory.
  virtual MessageMemory& memory() = 0;

  // A lane for a queue that has none and wants to page out. None while they are being fetched: ask
  // again for the next message.
  virtual std::optional<LaneId> take_lane() = 0;

  // Reads a page of one of the queue's lanes once what this turn recorded is submitted; the answer
  // is Queue::paged_in in a later turn, unless the queue is gone by then.
  virtual void read(Queue& queue, const PageRequest& request) = 0;

  // Runs `task` in a later turn: for an answer whose receiver may call the queue again.
  virtual void later(Task task) = 0;
};

}  // namespace harrier
