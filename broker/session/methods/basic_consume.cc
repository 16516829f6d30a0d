// basic.qos, consume, cancel and get: asking for messages.

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "base/assert.h"
#include "broker/core/arguments.h"
#include "broker/core/queue_settings.h"
#include "broker/core/resource_names.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/handover.h"
#include "broker/session/channel_consumer.h"
#include "broker/session/firehose.h"
#include "broker/session/methods/methods.h"
#include "broker/session/methods/names.h"
#include "broker/session/reply_to.h"
#include "broker/session/session_events.h"

namespace harrier {
namespace {

ProtocolError precondition(std::string text) {
  return {ReplyCode::precondition_failed, std::move(text)};
}

// RabbitMQ: the channel-wide limit also counts what is outstanding when it is first set.
void limit_outstanding(Channel& channel) {
  UnackedTags& unacked = channel.unacked();
  channel.prefetch().global_used = 0;
  for (std::uint64_t tag = unacked.next_unfinished(0); tag < unacked.end();
       tag = unacked.next_unfinished(tag + 1)) {
    unacked.find(tag)->limited = true;
    ++channel.prefetch().global_used;
  }
}

void lift_limit(Channel& channel) {
  UnackedTags& unacked = channel.unacked();
  for (std::uint64_t tag = unacked.next_unfinished(0); tag < unacked.end();
       tag = unacked.next_unfinished(tag + 1)) {
    unacked.find(tag)->limited = false;
  }
  channel.prefetch().global = 0;
  channel.prefetch().global_used = 0;
}

void send_consume_ok(Channel& channel, const std::string& tag) {
  BasicConsumeOk ok;
  ok.consumer_tag = tag;
  channel.send(ok);
}

Outcome consume_replies(Channel& channel, const std::string& tag, const BasicConsume& method) {
  if (!method.no_ack) return fail(precondition("reply consumer cannot acknowledge"));
  if (channel.reply_consumer()) return fail(precondition("reply consumer already set"));
  channel.reply_consumer() = std::make_unique<ReplyConsumer>(
      ReplyConsumer{tag, reply_queue_name(channel.id(), channel.connection().sessions().random())});
  if (!method.no_wait) send_consume_ok(channel, tag);
  return {};
}

Result<ConsumerOptions, ProtocolError> options_of(Channel& channel, const QueueHandle& queue,
                                                  const std::string& tag,
                                                  const BasicConsume& method) {
  const QueueType type = queue_type_of(queue.definition());
  const std::string resource = queue_text(queue.name(), channel.vhost().name());
  ConsumerOptions options;
  options.tag = tag;
  options.no_ack = method.no_ack;
  // A quorum queue has no exclusive consumers; RabbitMQ ignores the flag there.
  options.exclusive = method.exclusive && type == QueueType::classic;
  options.prefetch = method.no_ack ? 0 : channel.prefetch().for_new_consumers;
  if (const auto priority = method.arguments.find("x-priority")) {
    const auto value = as_integer(*priority);
    if (!value) {
      return fail(
          precondition(fmt::format("invalid arg 'x-priority' for {}: \"expected integer, "
                                   "got {}\"",
                                   resource, type_name(*priority))));
    }
    options.priority = static_cast<std::int32_t>(
        std::clamp<std::int64_t>(*value, std::numeric_limits<std::int32_t>::min(),
                                 std::numeric_limits<std::int32_t>::max()));
  }
  if (type == QueueType::quorum && channel.prefetch().global != 0) {
    return fail(
        ProtocolError{ReplyCode::not_implemented, resource + " does not support global qos"});
  }
  return options;
}

// RabbitMQ: a get would not be the active consumer's.
Outcome refuse_get(const QueueDefinition& queue) {
  if (queue_type_of(queue) != QueueType::quorum) return {};
  if (!settings_of(queue, nullptr, nullptr).single_active_consumer) return {};
  return fail(ProtocolError{
      ReplyCode::resource_locked,
      fmt::format("cannot obtain access to locked {}. basic.get operations are not supported by "
                  "quorum queues with single active consumer",
                  queue_text(queue.name, queue.vhost))});
}

void send_get_ok(Channel& channel, const QueueRef& queue, bool no_ack, const Got& got) {
  BasicGetOk ok;
  ok.delivery_tag = no_ack ? channel.use_up_tag()
                           : channel.await_ack({queue, got.delivery.seq, false, false, {}});
  ok.message_count = static_cast<std::uint32_t>(got.ready_left);
  channel.send_delivery(ok, got.delivery);
  if (channel.vhost().is_traced()) [[unlikely]] {
    trace_delivery(channel, *got.delivery.message, queue->name(), got.delivery.redelivered);
  }
}

}  // namespace

Outcome on(Channel& channel, const BasicQos& method) {
  if (method.prefetch_size != 0) {
    return fail(ProtocolError{ReplyCode::not_implemented,
                              fmt::format("prefetch_size!=0 ({})", method.prefetch_size)});
  }
  Channel::Prefetch& prefetch = channel.prefetch();
  if (!method.global) {
    // As RabbitMQ: this also takes back a limit over the channel.
    prefetch.for_new_consumers = method.prefetch_count;
    lift_limit(channel);
  } else if (method.prefetch_count == 0) {
    lift_limit(channel);
  } else {
    if (prefetch.global == 0) limit_outstanding(channel);
    prefetch.global = method.prefetch_count;
  }
  channel.send(BasicQosOk{});
  channel.resume_consumers();
  return {};
}

Outcome on(Channel& channel, const BasicConsume& method) {
  std::string tag(method.consumer_tag);
  if (channel.consumers().contains(tag)) {
    return fail(ProtocolError{ReplyCode::not_allowed,
                              fmt::format("attempt to reuse consumer tag '{}'", tag)});
  }
  const auto name = queue_or_last(channel, std::string(method.queue));
  if (!name) return fail(name.error());
  if (tag.empty()) tag = server_named_consumer_tag(channel.connection().sessions().random());
  if (*name == kReplyToName) return consume_replies(channel, tag, method);

  const auto queue = readable_queue(channel, *name);
  if (!queue) return fail(queue.error());
  auto options = options_of(channel, **queue, tag, method);
  if (!options) return fail(options.error());
  const QueueRef ref(*queue);
  auto added = channel.consumers().emplace(
      tag, std::make_unique<ChannelConsumer>(channel, ref, tag, method.no_ack));
  ChannelConsumer& consumer = *added.first->second;
  channel.pause();
  channel.subscriptions().subscribe(
      ref, consumer, std::move(*options),
      [&channel, &consumer, tag, no_wait = method.no_wait, no_ack = method.no_ack,
       exclusive = method.exclusive](Result<SubscriptionId, ProtocolError> subscribed) {
        if (!subscribed) {
          channel.consumers().erase(tag);
          return channel.resume(fail(subscribed.error()), BasicConsume::kId);
        }
        consumer.subscribed(*subscribed);
        announce_added(channel, {tag, consumer.queue_name(), no_ack, exclusive,
                                 channel.prefetch().for_new_consumers});
        if (!no_wait) send_consume_ok(channel, tag);
        channel.resume({}, BasicConsume::kId);
      });
  return {};
}

Outcome on(Channel& channel, const BasicCancel& method) {
  std::string tag(method.consumer_tag);
  auto answer = [&channel, tag, no_wait = method.no_wait] {
    if (no_wait) return;
    BasicCancelOk ok;
    ok.consumer_tag = tag;
    channel.send(ok);
  };
  const auto found = channel.consumers().find(tag);
  if (found == channel.consumers().end()) {
    if (channel.reply_consumer() && channel.reply_consumer()->tag == tag) {
      channel.reply_consumer().reset();
    }
    answer();  // RabbitMQ: an unknown tag is cancelled already
    return {};
  }
  channel.pause();
  channel.subscriptions().cancel(found->second->subscription(), Subscriptions::Underway::to_port,
                                 [&channel, tag, answer] {
                                   const auto ended = channel.consumers().find(tag);
                                   // Unless its queue went first.
                                   if (ended != channel.consumers().end()) {
                                     announce_removed(channel, tag, ended->second->queue_name());
                                     channel.consumers().erase(ended);
                                   }
                                   answer();
                                   channel.resume({}, BasicCancel::kId);
                                 });
  return {};
}

Outcome on(Channel& channel, const BasicCancelOk& method) {
  // RabbitMQ 4 takes it as a cancel that wants no answer.
  BasicCancel cancel;
  cancel.consumer_tag = method.consumer_tag;
  cancel.no_wait = true;
  return on(channel, cancel);
}

Outcome on(Channel& channel, const BasicGet& method) {
  const auto name = queue_or_last(channel, std::string(method.queue));
  if (!name) return fail(name.error());
  const auto queue = readable_queue(channel, *name);
  if (!queue) return fail(queue.error());
  HARRIER_DCHECK(*queue != nullptr);
  if (auto possible = refuse_get((*queue)->definition()); !possible) return possible;
  channel.pause();
  ask_home_later<GetResult>(
      channel.shard(), **queue,
      [no_ack = method.no_ack](Queue* home, Queue::GetReply answer) {
        if (home == nullptr) return answer(std::optional<Got>());
        home->get(no_ack, std::move(answer));
      },
      [&channel, queue = QueueRef(*queue), no_ack = method.no_ack](GetResult got) {
        if (!got) return channel.resume(fail(got.error()), BasicGet::kId);
        if (*got) {
          send_get_ok(channel, queue, no_ack, **got);
        } else {
          channel.send(BasicGetEmpty{});
        }
        channel.resume({}, BasicGet::kId);
      });
  return {};
}

}  // namespace harrier
