#pragma once

#include <string>
#include <string_view>

#include "base/message.h"
#include "base/task.h"
#include "broker/session/sessions.h"

namespace harrier {

class Channel;

// Direct reply-to: a consumer of amq.rabbitmq.reply-to. Replies go straight from the replier's
// channel to this one, through no queue.
struct ReplyConsumer {
  std::string tag;
  std::string queue;  // what `reply_to` is rewritten to; names this channel and cannot be guessed
};

// A new name for the reply consumer of `channel`: amq.rabbitmq.reply-to.<channel>.<random>.
std::string reply_queue_name(ChannelId channel, const NameRandom& random);

// Delivers `message` to the reply consumer whose queue is its routing key and runs
// `done(delivered)` in a turn of `here`; at once when that channel is on the same shard.
void deliver_reply(Sessions& here, MessageRef message, UniqueFunction<void(bool delivered)> done);

// Whether a reply consumer of that name exists.
void find_reply_queue(Sessions& here, std::string name, UniqueFunction<void(bool exists)> done);

}  // namespace harrier
