#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "broker/core/dead_letter.h"
#include "broker/core/death.h"
#include "broker/core/ids.h"
#include "broker/core/queue_handle.h"
#include "broker/core/virtual_host.h"

namespace harrier {

class Queue;
class Shard;

// Takes the dead messages of a shard's queues, and those whose delay in an exchange is over, to
// where they belong, at the end of the turn in which they died: routed by the shard's replica, put
// into their new queues, and only then ended in the old one. All of a turn is one change of the
// store, also over several shards: after a crash each message is in its old place or in its new
// ones. Confined to its shard.
class Burial {
 public:
  explicit Burial(Shard& shard) : shard_(shard) {}

  // `queue` dead-letters.
  void add(Queue& queue, DeadLetter letter);

  // Whether there is something that can be done now.
  bool is_due() const;

  void run();

 private:
  struct Waiting {
    QueueRef queue;
    DeadLetterTarget target;
    DeadLetter letter;
  };

  // Returns a bit per shard whose store has a part in it.
  std::uint64_t bury(const Waiting& dead);
  void route(VirtualHost& vhost, Exchange& exchange, const MessageRef& message);
  std::uint64_t spread(const MessageRef& message, DeathReason reason);

  Shard& shard_;
  std::vector<Waiting> waiting_;
  std::vector<std::string_view> keys_;  // scratch of routing
  std::vector<QueueHandle*> queues_;
};

}  // namespace harrier
