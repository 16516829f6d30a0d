#include "broker/session/channel_consumer.h"

#include <utility>

#include "broker/session/channel.h"
#include "broker/session/firehose.h"
#include "broker/session/session_events.h"

namespace harrier {

ChannelConsumer::ChannelConsumer(Channel& channel, QueueRef queue, std::string tag, bool no_ack)
    : channel_(channel), queue_(std::move(queue)), tag_(std::move(tag)), no_ack_(no_ack) {}

bool ChannelConsumer::can_take() const {
  if (channel_.global_limit_reached()) return false;
  if (channel_.connection().output_has_room()) return true;
  channel_.connection().wants_room(channel_);
  return false;
}

void ChannelConsumer::deliver(Delivery&& delivery) {
  std::uint64_t tag = 0;
  if (no_ack_) {
    tag = channel_.use_up_tag();
  } else {
    const bool limited = channel_.prefetch().global != 0;
    if (limited) ++channel_.prefetch().global_used;
    tag = channel_.await_ack({queue_, delivery.seq, limited, false, {}});
  }
  BasicDeliver method;
  method.consumer_tag = tag_;
  method.delivery_tag = tag;
  channel_.send_delivery(method, delivery);
  if (channel_.vhost().is_traced()) [[unlikely]] {
    trace_delivery(channel_, *delivery.message, queue_->name(), delivery.redelivered);
  }
}

void ChannelConsumer::cancelled() {
  // RabbitMQ's consumer cancel notification: only to clients that announced they know it.
  if (channel_.connection().wants_cancel_notify()) {
    BasicCancel method;
    method.consumer_tag = tag_;
    method.no_wait = true;
    channel_.send(method);
  }
  announce_removed(channel_, tag_, queue_->name());
  channel_.subscriptions().cancel(subscription_, Subscriptions::Underway::to_queue, [] {});
  channel_.consumers().erase(std::string(tag_));  // ends this
}

}  // namespace harrier
