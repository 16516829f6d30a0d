#include "broker/core/errors.h"

#include <initializer_list>
#include <string>

#include "broker/core/resource_names.h"

namespace harrier {
namespace {

std::string join(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts)
    text += part;
  return text;
}

}  // namespace

ProtocolError no_exchange(std::string_view exchange, std::string_view vhost) {
  return {ReplyCode::not_found, "no " + exchange_text(exchange, vhost)};
}

ProtocolError no_queue(std::string_view queue, std::string_view vhost) {
  return {ReplyCode::not_found, "no " + queue_text(queue, vhost)};
}

ProtocolError queue_locked(std::string_view queue, std::string_view vhost) {
  return {ReplyCode::resource_locked,
          join({"cannot obtain exclusive access to locked ", queue_text(queue, vhost),
                ". It could be originally declared on another connection or the exclusive property "
                "value does not match that of the original declaration."})};
}

ProtocolError default_exchange_refused() {
  return {ReplyCode::access_refused, "operation not permitted on the default exchange"};
}

ProtocolError reserved_name(std::string_view kind, std::string_view name) {
  return {ReplyCode::access_refused,
          join({kind, " name '", name, "' contains reserved prefix 'amq.*'"})};
}

ProtocolError inequivalent_argument(std::string_view argument, std::string_view resource,
                                    std::string_view received, std::string_view current) {
  return {ReplyCode::precondition_failed,
          join({"inequivalent arg '", argument, "' for ", resource, ": received ", received,
                " but current is ", current})};
}

ProtocolError invalid_argument_type(std::string_view type_name, std::string_view argument,
                                    std::string_view resource) {
  return {ReplyCode::precondition_failed,
          join({"invalid type '", type_name, "' for arg '", argument, "' in ", resource})};
}

}  // namespace harrier
