#include "broker/session/methods/methods.h"
#include "broker/session/transaction.h"

namespace harrier {

Outcome on(Channel& channel, const ConfirmSelect& method) {
  if (channel.transaction()) {
    return fail(
        ProtocolError{ReplyCode::precondition_failed, "cannot switch from tx to confirm mode"});
  }
  if (!channel.confirms()) channel.confirms().emplace();
  if (!method.no_wait) channel.send(ConfirmSelectOk{});
  return {};
}

}  // namespace harrier
