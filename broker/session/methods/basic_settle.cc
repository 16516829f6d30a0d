// basic.ack, reject, nack and recover: ending deliveries.

#include <limits>

#include <fmt/core.h>

#include "broker/session/methods/methods.h"
#include "broker/session/transaction.h"

namespace harrier {
namespace {

constexpr std::uint64_t kLastTag = std::numeric_limits<std::uint64_t>::max();

void hold_until_commit(Channel& channel, std::uint64_t first, std::uint64_t last, Settlement how) {
  UnackedTags& unacked = channel.unacked();
  for (std::uint64_t tag = unacked.next_unfinished(first); tag <= last && tag < unacked.end();
       tag = unacked.next_unfinished(tag + 1)) {
    UnackedDelivery& delivery = *unacked.find(tag);
    if (delivery.in_tx) continue;
    delivery.in_tx = true;
    channel.transaction()->settles.push_back({tag, how});
  }
}

// RabbitMQ: the tag must be outstanding even where `multiple` would find others below it; only 0
// with `multiple` stands for all.
Outcome settle(Channel& channel, std::uint64_t tag, bool multiple, Settlement how) {
  std::uint64_t first = tag;
  std::uint64_t last = tag;
  if (multiple && tag == 0) {
    last = kLastTag;
  } else {
    const UnackedDelivery* delivery = channel.unacked().find(tag);
    if (delivery == nullptr || delivery->in_tx) {
      return fail(ProtocolError{ReplyCode::precondition_failed,
                                fmt::format("unknown delivery tag {}", tag)});
    }
    if (multiple) first = 0;
  }
  if (channel.transaction()) {
    hold_until_commit(channel, first, last, how);
  } else {
    channel.settle(first, last, how);
  }
  return {};
}

Outcome require_requeue(bool requeue) {
  if (requeue) return {};
  return fail(ProtocolError{ReplyCode::not_implemented, "requeue=false"});
}

}  // namespace

Outcome on(Channel& channel, const BasicAck& method) {
  return settle(channel, method.delivery_tag, method.multiple, Settlement::ack);
}

Outcome on(Channel& channel, const BasicReject& method) {
  return settle(channel, method.delivery_tag, false,
                method.requeue ? Settlement::failed : Settlement::discard);
}

Outcome on(Channel& channel, const BasicNack& method) {
  return settle(channel, method.delivery_tag, method.multiple,
                method.requeue ? Settlement::requeue : Settlement::discard);
}

Outcome on(Channel& channel, const BasicRecover& method) {
  if (auto possible = require_requeue(method.requeue); !possible) return possible;
  channel.send(BasicRecoverOk{});
  channel.settle(0, kLastTag, Settlement::requeue);
  return {};
}

Outcome on(Channel& channel, const BasicRecoverAsync& method) {
  if (auto possible = require_requeue(method.requeue); !possible) return possible;
  channel.settle(0, kLastTag, Settlement::requeue);
  return {};
}

}  // namespace harrier
