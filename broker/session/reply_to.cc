#include "broker/session/reply_to.h"

#include <charconv>
#include <optional>
#include <utility>

#include "broker/runtime/broker.h"
#include "broker/session/channel.h"
#include "broker/session/firehose.h"

namespace harrier {
namespace {

// What a requester may have unread before further replies are dropped, as they are for one that is
// gone: nothing queues them.
constexpr std::size_t kUnreadRepliesMaxBytes = std::size_t{64} << 20;

// The channel that a reply queue's name points to; whether it has that very name is for it to say.
std::optional<ChannelId> channel_of(std::string_view name) {
  if (!is_reply_to_queue(name)) return std::nullopt;
  const std::string_view token = name.substr(kReplyToName.size() + 1);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number, 16);
  if (error != std::errc() || end == token.data() + token.size() || *end != '.') {
    return std::nullopt;
  }
  return ChannelId{number};
}

Channel* find_requester(Sessions& sessions, ChannelId id, std::string_view name) {
  Channel* channel = sessions.find(id);
  if (channel == nullptr || !channel->reply_consumer()) return nullptr;
  return channel->reply_consumer()->queue == name ? channel : nullptr;
}

bool deliver_here(Sessions& sessions, ChannelId id, const MessageRef& message) {
  Channel* channel = find_requester(sessions, id, message->routing_key());
  if (channel == nullptr) return false;
  if (channel->connection().output().size() > kUnreadRepliesMaxBytes) return false;
  BasicDeliver method;
  method.consumer_tag = channel->reply_consumer()->tag;
  method.delivery_tag = channel->use_up_tag();
  method.routing_key = message->routing_key();
  channel->send_content(method, message);
  if (channel->vhost().is_traced()) [[unlikely]] {
    trace_delivery(*channel, *message, message->routing_key(), false);
  }
  return true;
}

// Runs `ask(Sessions&)` on the shard of channel `id`, `done(answer)` here.
template <class Ask, class Done>
void ask_channel(Sessions& here, ChannelId id, Ask ask, Done done) {
  const auto home = static_cast<ShardIndex>(id.value >> 48);
  if (home >= here.shard().broker().shard_count()) return done(false);
  if (home == here.shard().index()) return done(ask(here));
  here.shard().send(home, [&here, home, ask = std::move(ask), done = std::move(done)]() mutable {
    Sessions& there = here.of(home);
    const bool answer = ask(there);
    there.shard().send(here.shard().index(),
                       [answer, done = std::move(done)]() mutable { done(answer); });
  });
}

}  // namespace

std::string reply_queue_name(ChannelId channel, const NameRandom& random) {
  char number[16];
  const auto end = std::to_chars(number, number + sizeof number, channel.value, 16).ptr;
  std::string name(kReplyToName);
  name += '.';
  name.append(number, end);
  name += '.';
  // The random part of a consumer tag: 22 characters behind "amq.ctag-".
  name += server_named_consumer_tag(random).substr(9);
  return name;
}

void deliver_reply(Sessions& here, MessageRef message, UniqueFunction<void(bool)> done) {
  const auto id = channel_of(message->routing_key());
  if (!id) return done(false);
  ask_channel(
      here, *id,
      [id = *id, message = std::move(message)](Sessions& there) {
        return deliver_here(there, id, message);
      },
      std::move(done));
}

void find_reply_queue(Sessions& here, std::string name, UniqueFunction<void(bool)> done) {
  const auto id = channel_of(name);
  if (!id) return done(false);
  ask_channel(
      here, *id,
      [id = *id, name = std::move(name)](Sessions& there) {
        return find_requester(there, id, name) != nullptr;
      },
      std::move(done));
}

}  // namespace harrier
