#pragma once

#include "base/result.h"
#include "broker/session/channel.h"
#include "protocol/content_assembler.h"
#include "protocol/methods.h"
#include "protocol/reply_code.h"

namespace harrier {

// What each method does on an open channel. An error closes the channel or the connection, as its
// code says. Methods that wait for another shard or the disk pause the connection and answer later.

using Outcome = Result<void, ProtocolError>;

Outcome on(Channel& channel, const ChannelOpen& method);
Outcome on(Channel& channel, const ChannelFlow& method);
Outcome on(Channel& channel, const ChannelClose& method);
Outcome on(Channel& channel, const AccessRequest& method);

Outcome on(Channel& channel, const ExchangeDeclare& method);
Outcome on(Channel& channel, const ExchangeDelete& method);
Outcome on(Channel& channel, const ExchangeBind& method);
Outcome on(Channel& channel, const ExchangeUnbind& method);

Outcome on(Channel& channel, const QueueDeclare& method);
Outcome on(Channel& channel, const QueueBind& method);
Outcome on(Channel& channel, const QueueUnbind& method);
Outcome on(Channel& channel, const QueuePurge& method);
Outcome on(Channel& channel, const QueueDelete& method);

Outcome on(Channel& channel, const BasicQos& method);
Outcome on(Channel& channel, const BasicConsume& method);
Outcome on(Channel& channel, const BasicCancel& method);
Outcome on(Channel& channel, const BasicCancelOk& method);
Outcome on(Channel& channel, const BasicGet& method);
Outcome on(Channel& channel, const BasicAck& method);
Outcome on(Channel& channel, const BasicReject& method);
Outcome on(Channel& channel, const BasicNack& method);
Outcome on(Channel& channel, const BasicRecover& method);
Outcome on(Channel& channel, const BasicRecoverAsync& method);
// basic.publish, once its content is complete.
Outcome publish(Channel& channel, AssembledContent& content);

Outcome on(Channel& channel, const ConfirmSelect& method);
Outcome on(Channel& channel, const TxSelect& method);
Outcome on(Channel& channel, const TxCommit& method);
Outcome on(Channel& channel, const TxRollback& method);

// Methods that only a server sends, and those of class connection.
template <class M>
Outcome on(Channel&, const M&) {
  return harrier::fail(ProtocolError{ReplyCode::command_invalid, "unimplemented method"});
}

}  // namespace harrier
