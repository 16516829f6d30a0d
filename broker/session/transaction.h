#pragma once

#include <cstdint>
#include <vector>

#include "base/message.h"
#include "base/task.h"
#include "broker/core/consumer.h"
#include "broker/core/queue_handle.h"

namespace harrier {

// What a transactional channel holds until tx.commit: publishes, routed when they came, and
// settlements, each in order.
struct Transaction {
  struct Publish {
    MessageRef message;
    std::vector<QueueRef> queues;
    bool mandatory = false;
  };

  struct Settle {
    std::uint64_t tag;
    Settlement how;
  };

  std::vector<Publish> publishes;
  std::uint64_t publish_bytes = 0;  // of their bodies
  std::vector<Settle> settles;

  // While a commit is under way: what this and other shards have yet to make durable, and what
  // follows.
  std::uint32_t shares_left = 0;
  Task when_stored;
};

}  // namespace harrier
