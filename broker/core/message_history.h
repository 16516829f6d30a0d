#pragma once

#include <cstddef>
#include <deque>

#include "base/message.h"

namespace harrier {

// The last messages that an exchange was sent, for those who bind later. In memory only, as
// RabbitMQ's: a restart forgets them. Kept by the replica of shard 0, which hears of all of them
// (runtime/recent_messages.h); empty on the others.
class MessageHistory {
 public:
  // Octets of memory; the oldest messages go where a few large ones would take more.
  static constexpr std::size_t kOctetsMax = std::size_t{64} << 20;

  // `length` is the number of messages kept, at least 1.
  explicit MessageHistory(std::size_t length) : length_(length) {}

  // Unless its header x-recent-history-no-store is true.
  void keep(MessageRef message);

  // Oldest first.
  const std::deque<MessageRef>& messages() const { return messages_; }

 private:
  const std::size_t length_;
  std::size_t octets_ = 0;
  std::deque<MessageRef> messages_;
};

}  // namespace harrier
