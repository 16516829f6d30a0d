#pragma once

#include <cstdint>
#include <vector>

#include "base/message.h"
#include "broker/core/queue.h"
#include "broker/core/queue_handle.h"
#include "broker/session/channel.h"

namespace harrier {

// Where a message went.
struct Spread {
  bool stored_here = false;      // durable with the ticket of this turn
  bool written_here = false;     // the batch of this turn has it, durable or paged out
  bool refused_here = false;     // by a full queue of this shard
  std::uint32_t elsewhere = 0;   // shards' shares that Channel::share_done will report
  std::uint64_t durable_on = 0;  // bit per shard that writes a part of it to the store
  std::uint64_t to_ask = 0;      // bit per shard that got so much that it has to be asked
};

// For a publish that goes on in a later turn.
std::vector<QueueRef> keep(const std::vector<QueueHandle*>& queues);
// Those that were not deleted meanwhile.
std::vector<QueueHandle*> left_of(const std::vector<QueueRef>& kept);

// Enqueues `message` to `queues`. Shards elsewhere report under `number` (a confirm number or
// Channel::kCommitShare) once their part is enqueued and, if stored, durable; 0: nobody waits.
Spread spread(Channel& channel, const MessageRef& message, const std::vector<QueueHandle*>& queues,
              std::uint64_t number, Admission admission = Admission::asked);

// Publisher back-pressure: where the disk or another shard is behind, the publisher's connection is
// read again only when they have caught up.
void hold_back(Channel& channel, const Spread& where);

// basic.return of a message that found no queue (`code` NO_ROUTE) or no consumer (NO_CONSUMERS).
void send_return(Channel& channel, ReplyCode code, const MessageRef& message);

}  // namespace harrier
