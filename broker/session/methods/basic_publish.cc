// basic.publish: from the complete content to the queues. AMQP 0-9-1 section 3.1.3; the order of
// the checks is RabbitMQ's, which client test suites rely on.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/join.h"
#include "broker/core/routing_keys.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/handover.h"
#include "broker/runtime/recent_messages.h"
#include "broker/session/firehose.h"
#include "broker/session/large_publish.h"
#include "broker/session/methods/methods.h"
#include "broker/session/publishing.h"
#include "broker/session/reply_to.h"
#include "broker/session/transaction.h"
#include "protocol/expiration.h"

namespace harrier {
namespace {

ProtocolError precondition(std::string text) {
  return {ReplyCode::precondition_failed, std::move(text)};
}

Outcome check_content(const AssembledContent& content, std::uint64_t max_message_bytes) {
  if (content.oversize) {
    return fail(precondition(fmt::format("message size {} is larger than configured max size {}",
                                         content.body_bytes, max_message_bytes)));
  }
  if (!content.properties_view) {
    return fail(ProtocolError{ReplyCode::internal_error, "", MethodId{}});
  }
  return {};
}

Result<Exchange*, ProtocolError> publishable_exchange(Channel& channel, std::string_view name) {
  if (auto allowed = channel.require_write(name); !allowed) return fail(allowed.error());
  auto exchange = channel.vhost().require_exchange(name);
  if (!exchange) return fail(exchange.error());
  if ((*exchange)->definition().internal) {
    return fail(ProtocolError{
        ReplyCode::access_refused,
        fmt::format("cannot publish to internal {}", exchange_text(name, channel.vhost().name()))});
  }
  return exchange;
}

Outcome check_expiration(const PropertiesView& properties) {
  if (!properties.expiration) return {};
  const auto ttl = parse_expiration(*properties.expiration);
  if (ttl) return {};
  return fail(precondition(
      fmt::format("invalid expiration '{}': {}", *properties.expiration, ttl.error())));
}

Outcome check_user_id(Channel& channel, const PropertiesView& properties) {
  const User& user = channel.connection().user();
  if (!properties.user_id || *properties.user_id == user.name) return {};
  if (std::find(user.tags.begin(), user.tags.end(), "impersonator") != user.tags.end()) return {};
  return fail(
      precondition(fmt::format("user_id property set to '{}' but authenticated user was '{}'",
                               *properties.user_id, user.name)));
}

// The message with other properties.
MessageRef rewritten(const Message& message, ByteView properties) {
  MessageParts parts;
  parts.exchange = message.exchange();
  parts.routing_key = message.routing_key();
  parts.properties = properties;
  parts.persistent = message.persistent();
  parts.priority = message.priority();
  parts.ttl_ms = message.ttl_ms();
  parts.delay_headers = message.has_delay_headers();
  return Message::create(parts, message.body());
}

// What exchanges with a history get may be read by another shard from now on, so it cannot be the
// message that will learn where the store has its body.
void keep_recent(Channel& channel, const RouteOutcome& outcome, const MessageRef& message,
                 const std::vector<QueueHandle*>& queues) {
  keep_recent(channel.shard(), channel.vhost(), outcome,
              goes_ahead(*message, queues) ? rewritten(*message, message->properties()) : message);
}

Outcome name_reply_consumer(Channel& channel, MessageRef& message) {
  if (!channel.reply_consumer()) {
    return fail(precondition("fast reply consumer does not exist"));
  }
  message = rewritten(*message,
                      with_reply_to(message->properties(), channel.reply_consumer()->queue).view());
  return {};
}

// The publish got where it goes at once: confirmed at the end of the turn, or with `ticket`.
void confirm(Channel& channel, const Spread& spread) {
  channel.confirms()->add(spread.stored_here ? channel.shard().turn_ticket() : 0, spread.elsewhere,
                          spread.refused_here ? Verdict::refused : Verdict::taken);
  if (spread.stored_here) {
    channel.confirm_when_durable();
  } else {
    channel.connection().confirms_ready(channel);
  }
}

std::uint64_t next_confirm(Channel& channel) {
  return channel.confirms() ? channel.confirms()->next() : 0;
}

bool is_spread(const std::vector<QueueHandle*>& queues, ShardIndex here) {
  return std::any_of(queues.begin(), queues.end(),
                     [here](const QueueHandle* queue) { return queue->home() != here; });
}

void deliver_now(Channel& channel, const MessageRef& message,
                 const std::vector<QueueHandle*>& queues) {
  const Spread where = spread(channel, message, queues, next_confirm(channel));
  channel.shard().make_atomic(where.durable_on);
  end_body_ahead(channel.shard(), *message, where.durable_on);
  if (channel.confirms()) confirm(channel, where);
  hold_back(channel, where);
}

void deliver_whole(Channel& channel, const MessageRef& message,
                   const std::vector<QueueHandle*>& queues) {
  Shard& here = channel.shard();
  if (!here.groups_are_held() || !message->persistent() || !is_spread(queues, here.index())) {
    return deliver_now(channel, message, queues);
  }
  channel.pause();
  here.when_groups_flow([&channel, message, kept = keep(queues)] {
    deliver_now(channel, message, left_of(kept));
    channel.resume({}, BasicPublish::kId);
  });
}

void deliver_to(Channel& channel, const MessageRef& message,
                const std::vector<QueueHandle*>& queues) {
  if (!goes_ahead(*message, queues)) return deliver_whole(channel, message, queues);
  channel.pause();
  channel.connection().sessions().bodies_ahead().send(
      message, [&channel, message, kept = keep(queues)] {
        deliver_whole(channel, message, left_of(kept));
        channel.resume({}, BasicPublish::kId);
      });
}

// basic.publish/immediate, which RabbitMQ refuses: only queues with a consumer ready to take the
// message get it; without any it comes back with NO_CONSUMERS. On another shard the consumer may
// have got something else between the question and the message, which then waits in the queue.
void deliver_immediate(Channel& channel, const MessageRef& message,
                       const std::vector<QueueHandle*>& queues) {
  const auto takers = std::make_shared<std::vector<QueueRef>>();
  channel.pause();
  Join asked([&channel, takers, message] {
    if (takers->empty()) {
      send_return(channel, ReplyCode::no_consumers, message);
      if (channel.confirms()) confirm(channel, {});
    } else {
      deliver_to(channel, message, left_of(*takers));
    }
    channel.resume({}, BasicPublish::kId);
  });
  for (QueueHandle* queue : queues) {
    ask_home(
        channel.shard(), *queue,
        [](Shard&, Queue* home) { return home != nullptr && home->takes_at_once(); },
        [takers, ref = QueueRef(queue), share = asked.share()](bool takes) mutable {
          if (takes) takers->push_back(std::move(ref));
          share();
        });
  }
}

// A reply to a requester that waits on a channel, not in a queue.
void publish_reply(Channel& channel, MessageRef message, bool mandatory) {
  if (!mandatory) {
    deliver_reply(channel.connection().sessions(), std::move(message), [](bool) {});
    if (channel.confirms()) confirm(channel, {});
    return;
  }
  channel.pause();
  deliver_reply(channel.connection().sessions(), message, [&channel, message](bool delivered) {
    if (!delivered) send_return(channel, ReplyCode::no_route, message);
    if (channel.confirms()) confirm(channel, {});
    channel.resume({}, BasicPublish::kId);
  });
}

ProtocolError too_large(std::string_view key, std::uint64_t limit, std::string_view unit) {
  return {ReplyCode::precondition_failed,
          fmt::format("transaction holds more than {} {}: commit earlier, or raise {}", limit, unit,
                      key)};
}

Outcome hold_until_commit(Channel& channel, MessageRef message,
                          const std::vector<QueueHandle*>& queues, bool mandatory) {
  const SessionConfig& config = channel.connection().sessions().config();
  Transaction& transaction = *channel.transaction();
  transaction.publish_bytes += message->body().size();
  if (transaction.publishes.size() >= config.tx_messages_max) {
    return fail(too_large("tx_max_messages", config.tx_messages_max, "messages"));
  }
  if (transaction.publish_bytes > config.tx_bytes_max) {
    return fail(too_large("tx_max_size", config.tx_bytes_max, "octets"));
  }
  Transaction::Publish held;
  held.message = std::move(message);
  held.mandatory = mandatory;
  held.queues = keep(queues);
  transaction.publishes.push_back(std::move(held));
  return {};
}

}  // namespace

Outcome publish(Channel& channel, AssembledContent& content) {
  Sessions& sessions = channel.connection().sessions();
  if (auto sound = check_content(content, sessions.config().max_message_bytes); !sound) {
    return sound;
  }
  const auto exchange = publishable_exchange(channel, content.exchange);
  if (!exchange) return fail(exchange.error());
  MessageRef message = std::move(content.message);
  const PropertiesView& properties = *content.properties_view;
  const bool wants_reply = properties.reply_to == kReplyToName;
  // The view borrows the message as published, which a rewrite would end.
  const MessageRef as_published = wants_reply || properties.headers ? message : MessageRef();
  if (wants_reply) {
    if (auto named = name_reply_consumer(channel, message); !named) return named;
  }
  if (auto sound = check_expiration(properties); !sound) return sound;
  Sessions::RoutingScratch& scratch = sessions.routing_scratch();
  const TableView headers = properties.headers.value_or(TableView{});
  if (auto keys = collect_routing_keys(content.routing_key, headers, scratch.keys); !keys) {
    return keys;
  }
  if (auto sound = check_user_id(channel, properties); !sound) return sound;
  if (properties.headers && has_bcc(headers)) {
    message = rewritten(*message, without_bcc(message->properties()).view());
  }
  if (content.exchange.empty() && is_reply_to_queue(content.routing_key)) {
    if (channel.vhost().is_traced()) [[unlikely]]
      trace_reply(channel, *message);
    publish_reply(channel, std::move(message), content.mandatory);
    return {};
  }

  const RouteOutcome outcome =
      channel.vhost().route(**exchange, {scratch.keys, headers, &properties}, scratch.queues);
  if (channel.vhost().is_traced()) [[unlikely]] {
    trace_publish(channel, *message, scratch.keys, scratch.queues);
  }
  if (!outcome.keepers.empty()) keep_recent(channel, outcome, message, scratch.queues);
  if (channel.transaction()) {
    return hold_until_commit(channel, std::move(message), scratch.queues, content.mandatory);
  }
  if (scratch.queues.empty() && content.mandatory) {
    send_return(channel, ReplyCode::no_route, message);
  }
  if (content.immediate && !scratch.queues.empty()) {
    deliver_immediate(channel, message, scratch.queues);
  } else {
    deliver_to(channel, message, scratch.queues);
  }
  return {};
}

}  // namespace harrier
