#include "broker/session/methods/methods.h"

namespace harrier {

Outcome on(Channel&, const ChannelOpen&) {
  return fail(ProtocolError{ReplyCode::channel_error, "second 'channel.open' seen"});
}

Outcome on(Channel& channel, const ChannelFlow& method) {
  // RabbitMQ has no way to stop its consumers on request either: clients use prefetch.
  if (!method.active) return fail(ProtocolError{ReplyCode::not_implemented, "active=false"});
  ChannelFlowOk ok;
  ok.active = true;
  channel.send(ok);
  return {};
}

Outcome on(Channel& channel, const AccessRequest&) {
  // Class access is gone from AMQP 0-9-1, yet old clients still ask for a ticket.
  AccessRequestOk ok;
  ok.ticket = 1;
  channel.send(ok);
  return {};
}

}  // namespace harrier
