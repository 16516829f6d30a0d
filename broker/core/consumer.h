#pragma once

#include <cstdint>
#include <string>

#include "base/message.h"
#include "broker/core/queue_handle.h"
#include "storage/store.h"

namespace harrier {

// A message handed to one consumer, to be settled under its sequence unless the consumer is no-ack.
struct Delivery {
  Sequence seq = 0;
  MessageRef message;
  bool redelivered = false;
  std::uint32_t delivery_count = 0;  // deliveries before this one that count (x-delivery-count)
};

// Where a queue's deliveries go: a channel of the same shard, or the stand-in of a channel on
// another one. The calls only record; none of them calls back into the queue.
class Consumer {
 public:
  virtual ~Consumer() = default;

  // Whether another delivery fits now, prefetch aside (the queue counts that itself): room in the
  // output, the channel's global limit. After answering false the consumer calls Queue::resume once
  // it changes.
  virtual bool can_take() const = 0;
  virtual void deliver(Delivery&& delivery) = 0;
  // The queue is gone; no delivery follows.
  virtual void cancelled() = 0;
};

// What basic.consume said.
struct ConsumerOptions {
  std::string tag;
  bool no_ack = false;
  bool exclusive = false;
  std::uint32_t prefetch = 0;  // unacknowledged deliveries at once, 0 = unlimited
  std::int32_t priority = 0;   // x-priority, higher first
};

// How a delivery ends.
enum class Settlement : std::uint8_t {
  ack,
  discard,  // reject or nack without requeue
  // Back to its old place, marked redelivered:
  requeue,  // by nack or recover
  failed,   // by reject
  lost,     // its channel ended
  unseen,   // no client has seen it
};

constexpr bool returns(Settlement how) {
  return how >= Settlement::requeue;
}

}  // namespace harrier
