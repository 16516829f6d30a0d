#pragma once

#include <string>

#include "broker/core/consumer.h"
#include "broker/runtime/subscriptions.h"

namespace harrier {

class Channel;

// What basic.consume made of a queue on a channel: turns deliveries into basic.deliver.
class ChannelConsumer final : public Consumer {
 public:
  ChannelConsumer(Channel& channel, QueueRef queue, std::string tag, bool no_ack);

  const std::string& tag() const { return tag_; }

  const std::string& queue_name() const { return queue_->name(); }

  SubscriptionId subscription() const { return subscription_; }

  void subscribed(SubscriptionId id) { subscription_ = id; }

  bool can_take() const override;
  void deliver(Delivery&& delivery) override;
  void cancelled() override;

 private:
  Channel& channel_;
  const QueueRef queue_;
  const std::string tag_;
  const bool no_ack_;
  SubscriptionId subscription_{};
};

}  // namespace harrier
