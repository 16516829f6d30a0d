#include "broker/session/methods/names.h"

#include <utility>

namespace harrier {

Result<std::string, ProtocolError> queue_or_last(const Channel& channel, std::string name) {
  if (!name.empty()) return name;
  if (!channel.last_declared_queue().empty()) return channel.last_declared_queue();
  return fail(ProtocolError{ReplyCode::not_found, "no previously declared queue"});
}

Result<QueueHandle*, ProtocolError> readable_queue(Channel& channel, const std::string& name) {
  if (auto allowed = channel.require(Permission::read, "queue", name); !allowed) {
    return fail(allowed.error());
  }
  return channel.vhost().require_queue(name, channel.connection().id());
}

}  // namespace harrier
