#include "broker/session/channel.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "base/join.h"
#include "broker/core/delivery_count.h"
#include "broker/core/resource_names.h"
#include "broker/runtime/broker.h"
#include "broker/session/channel_consumer.h"
#include "broker/session/methods/methods.h"
#include "broker/session/reply_to.h"
#include "broker/session/session_events.h"
#include "broker/session/transaction.h"
#include "protocol/method_codec.h"

namespace harrier {

Channel::Channel(Connection& connection, ChannelNumber number)
    : connection_(connection), number_(number), id_{connection.shard().next_number()} {
  connection_.sessions().add(id_, *this);
}

Channel::~Channel() {
  connection_.sessions().remove(id_);
}

void Channel::on_frame(const Frame& frame) {
  if (frame.type == FrameType::method) {
    on_method(frame.payload);
  } else if (frame.type == FrameType::heartbeat) {
    connection_.close(unexpected_frame(frame), MethodId{});
  } else {
    on_content_frame(frame);
  }
}

void Channel::on_method(ByteView payload) {
  Connection& connection = connection_;  // channel.close and close-ok end this
  const ChannelNumber number = number_;
  const MethodId method = peek_method_id(payload);
  if (assembler_.active()) return connection.close(assembler_.unexpected(), BasicPublish::kId);
  Outcome outcome;
  const DecodeStatus status = visit_method(payload, [&](const auto& decoded) {
    using Method = std::decay_t<decltype(decoded)>;
    if constexpr (std::is_same_v<Method, BasicPublish>) {
      assembler_.begin(decoded);
    } else if constexpr (std::is_same_v<Method, ChannelCloseOk>) {
      if (closing_) return connection.channel_closed(number);
      outcome = harrier::fail(ProtocolError{ReplyCode::command_invalid, "unimplemented method"});
    } else if constexpr (std::is_same_v<Method, ChannelClose>) {
      // After a close of ours the client still owes its close-ok.
      closing_ ? send(ChannelCloseOk{}) : close_asked();
    } else if (!closing_ || std::is_same_v<Method, ChannelOpen>) {
      outcome = on(*this, decoded);
    }
  });
  if (status != DecodeStatus::ok) return connection.close(decode_error(status, payload), method);
  if (!outcome) connection.fail_channel(number, outcome.error(), method);
}

void Channel::on_content_frame(const Frame& frame) {
  if (!assembler_.active()) {
    return connection_.close({ReplyCode::unexpected_frame,
                              "expected method frame, got non method frame instead", MethodId{}},
                             MethodId{});
  }
  const std::uint64_t max_bytes = closing_ ? 0 : connection_.sessions().config().max_message_bytes;
  const auto complete = frame.type == FrameType::header
                            ? assembler_.on_header(frame.payload, max_bytes)
                            : assembler_.on_body(frame.payload);
  if (!complete) return connection_.close(complete.error(), BasicPublish::kId);
  if (!*complete || closing_) return;
  const Outcome outcome = publish(*this, assembler_.content());
  if (!outcome) connection_.fail_channel(number_, outcome.error(), BasicPublish::kId);
}

template <class M>
void Channel::send_content(const M& method, const MessageRef& message) {
  send_content(method, message, message->properties());
}

template <class M>
void Channel::send_delivery(M& method, const Delivery& delivery) {
  const Message& message = *delivery.message;
  method.redelivered = delivery.redelivered;
  method.exchange = message.exchange();
  method.routing_key = message.routing_key();
  if (delivery.delivery_count == 0) return send_content(method, delivery.message);
  const Buffer properties = with_delivery_count(message.properties(), delivery.delivery_count);
  send_content(method, delivery.message, properties.view());
}

template <class M>
void Channel::send_content(const M& method, const MessageRef& message, ByteView properties) {
  OutputBuffer& output = connection_.output();
  const std::size_t before = output.size();
  encode_method(number_, method, output.tail());
  encode_header_frame(number_, message->body().size(), properties, output.tail());
  output.append_body(number_, message, connection_.frame_max());
  if constexpr (!std::is_same_v<M, BasicDeliver>) output.note_answer(output.size() - before);
  connection_.output_changed();
}

template void Channel::send_content(const BasicDeliver&, const MessageRef&);
template void Channel::send_delivery(BasicDeliver&, const Delivery&);
template void Channel::send_delivery(BasicGetOk&, const Delivery&);
template void Channel::send_content(const BasicReturn&, const MessageRef&);

void Channel::resume(const Outcome& result, MethodId method) {
  Connection& connection = connection_;  // an error may end this
  // Before the pause ends, so that no frame is looked at between.
  if (!result) connection.fail_channel(number_, result.error(), method);
  connection.resume();
}

void Channel::release(Task done) {
  transaction_.reset();
  confirms_.reset();
  reply_consumer_.reset();
  // First nothing more is delivered, then all goes back: another order would hand the returned
  // messages to the consumers that are about to go.
  Join cancelled([this, done = std::move(done)]() mutable {
    Join returned(std::move(done));
    return_unacked(returned);
  });
  auto consumers = std::move(consumers_);
  consumers_.clear();
  for (auto& [tag, consumer] : consumers) {
    announce_removed(*this, tag, consumer->queue_name());
    subscriptions().cancel(consumer->subscription(), Subscriptions::Underway::to_queue,
                           cancelled.share());
  }
}

void Channel::return_unacked(Join& returned) {
  std::vector<bool> told(shard().broker().shard_count());
  for (std::uint64_t tag = unacked_.next_unfinished(0); tag < unacked_.end();
       tag = unacked_.next_unfinished(tag + 1)) {
    UnackedDelivery& delivery = *unacked_.find(tag);
    told[delivery.queue->home()] = true;
    settle_one(tag, delivery, Settlement::lost);
  }
  subscriptions().settled();
  subscriptions().flush();
  // Others must find the messages ready before they hear of the close.
  for (ShardIndex home = 0; home < shard().broker().shard_count(); ++home) {
    if (!told[home] || home == shard().index()) continue;
    shard().send(home, [&here = shard(), home, share = returned.share()]() mutable {
      here.broker().shard(home).send(here.index(), std::move(share));
    });
  }
}

Outcome Channel::require(Permission permission, std::string_view resource_kind,
                         std::string_view name) {
  const std::string& vhost_name = vhost().name();
  const User& user = connection_.user();
  if (connection_.sessions().access().permits(user, vhost_name, permission, name)) return {};
  constexpr std::string_view kVerbs[] = {"configure", "write", "read"};
  const bool is_queue = resource_kind == "queue";
  const std::string_view shown = name.empty() && !is_queue ? "amq.default" : name;
  return harrier::fail(ProtocolError{
      ReplyCode::access_refused,
      fmt::format(
          "{} access to {} refused for user '{}'", kVerbs[static_cast<std::size_t>(permission)],
          is_queue ? queue_text(shown, vhost_name) : exchange_text(shown, vhost_name), user.name)});
}

Outcome Channel::require_any(std::string_view resource_kind, std::string_view name) {
  if (require(Permission::read, resource_kind, name)) return {};
  if (require(Permission::write, resource_kind, name)) return {};
  return require(Permission::configure, resource_kind, name);
}

Outcome Channel::require_write(std::string_view exchange) {
  const std::uint64_t revision = connection_.sessions().access().revision();
  if (writable_known_ && writable_revision_ == revision && writable_exchange_ == exchange) {
    return {};
  }
  Outcome outcome = require(Permission::write, "exchange", exchange);
  writable_known_ = outcome.has_value();
  writable_revision_ = revision;
  writable_exchange_ = exchange;
  return outcome;
}

std::uint64_t Channel::await_ack(UnackedDelivery delivery) {
  const Milliseconds timeout = consumer_timeout(*delivery.queue);
  delivery.deadline = timeout > Milliseconds(0) ? shard().now() + timeout : Timestamp::max();
  next_overdue_ = std::min(next_overdue_, delivery.deadline);
  return unacked_.push(std::move(delivery));
}

// Looks through all of them only when one could be overdue that was there when it last did.
std::optional<ProtocolError> Channel::overdue(Timestamp now) {
  if (now < next_overdue_ || closing_) return std::nullopt;
  next_overdue_ = Timestamp::max();
  for (std::uint64_t tag = unacked_.next_unfinished(0); tag < unacked_.end();
       tag = unacked_.next_unfinished(tag + 1)) {
    const UnackedDelivery& delivery = *unacked_.find(tag);
    if (delivery.in_tx) {  // a rollback would make it count again
      next_overdue_ =
          std::min(next_overdue_, std::max(delivery.deadline, now + Milliseconds(1000)));
      continue;
    }
    if (delivery.deadline <= now) {
      return ProtocolError{
          ReplyCode::precondition_failed,
          fmt::format("delivery acknowledgement on channel {} timed out. Timeout value used: {} "
                      "ms. This timeout value can be configured, see consumers doc guide to learn "
                      "more",
                      number_, consumer_timeout(*delivery.queue).count())};
    }
    next_overdue_ = std::min(next_overdue_, delivery.deadline);
  }
  return std::nullopt;
}

Milliseconds Channel::consumer_timeout(const QueueHandle& queue) {
  return queue.consumer_timeout().value_or(
      Milliseconds(connection_.sessions().config().consumer_timeout_ms));
}

void Channel::settle_one(std::uint64_t tag, UnackedDelivery& delivery, Settlement how) {
  if (delivery.limited) --prefetch_.global_used;
  subscriptions().settle(delivery.queue, delivery.seq, how);
  unacked_.finish(tag);
}

void Channel::settle(std::uint64_t first_tag, std::uint64_t last_tag, Settlement how) {
  const bool was_limited = global_limit_reached();
  for (std::uint64_t tag = unacked_.next_unfinished(first_tag);
       tag <= last_tag && tag < unacked_.end(); tag = unacked_.next_unfinished(tag + 1)) {
    UnackedDelivery& delivery = *unacked_.find(tag);
    if (!delivery.in_tx) settle_one(tag, delivery, how);
  }
  subscriptions().settled();
  if (was_limited && !global_limit_reached()) resume_consumers();
}

void Channel::resume_consumers() {
  for (auto& [tag, consumer] : consumers_)
    subscriptions().resume(consumer->subscription());
}

std::uint64_t Channel::use_up_tag() {
  const std::uint64_t tag = unacked_.end();
  unacked_.skip_to(tag + 1);
  return tag;
}

void Channel::confirm_when_durable() {
  const Ticket ticket = shard().turn_ticket();
  if (std::exchange(confirms_registered_, ticket) == ticket) return;
  shard().when_durable(ticket, [&sessions = connection_.sessions(), id = id_] {
    Channel* channel = sessions.find(id);
    if (channel != nullptr) channel->connection().confirms_ready(*channel);
  });
}

void Channel::share_done(std::uint64_t number, Verdict verdict) {
  if (number == kCommitShare) {
    if (!transaction_ || --transaction_->shares_left > 0) return;
    Task done = std::move(transaction_->when_stored);  // may end the transaction
    done();
  } else if (confirms_) {
    confirms_->share_done(number, verdict);
    connection_.confirms_ready(*this);
  }
}

void Channel::send_confirms() {
  if (!confirms_) return;
  for (;;) {
    const PublisherConfirms::Run run = confirms_->take_ready(shard().durable_ticket());
    if (run.count == 0) return;
    if (run.verdict == Verdict::taken) {
      BasicAck ack;
      ack.delivery_tag = run.last;
      ack.multiple = run.count > 1;
      send(ack);
    } else {
      BasicNack nack;
      nack.delivery_tag = run.last;
      nack.multiple = run.count > 1;
      send(nack);
    }
  }
}

}  // namespace harrier
