#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/message.h"
#include "broker/core/virtual_host.h"
#include "broker/runtime/shard.h"
#include "protocol/properties.h"

namespace harrier {

// Messages that come from no channel. Nobody waits for them, and whoever gives one to a queue of
// this shard may be called by that queue's consumers: not from inside of a queue.

// Gives `message` to the queue, wherever that lives.
void send_to_queue(Shard& here, const QueueHandle& queue, const MessageRef& message);

// Gives `message` to every queue that `exchange` routes it to by its routing key, CC and headers.
void publish_from(Shard& here, VirtualHost& vhost, Exchange& exchange, const MessageRef& message);

// A message of the broker's own.
MessageRef own_message(std::string_view exchange, std::string_view routing_key,
                       const BasicProperties& properties, ByteView body);

// "harrier@HOST", what messages of the broker's own name as their `node`.
const std::string& node_name();

// What a shard publishes itself: traces, events, its log. At the end of the turn, so that it may be
// given from inside of a queue.
class OwnMessages final : public TurnEnd {
 public:
  explicit OwnMessages(Shard& shard) : shard_(shard) {}

  // Through the exchange that the message names, if that exists at the end of the turn.
  void publish(std::string_view vhost, MessageRef message);

  void end_of_turn() override;

 private:
  struct Pending {
    std::string vhost;
    MessageRef message;
  };

  Shard& shard_;
  std::vector<Pending> pending_;
};

}  // namespace harrier
