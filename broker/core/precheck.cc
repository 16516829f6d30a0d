#include "broker/core/precheck.h"

#include <string>

#include "broker/core/errors.h"
#include "broker/core/exchange_types.h"
#include "broker/core/resource_names.h"

namespace harrier {

Result<void, ProtocolError> precheck_declare(const ExchangeDefinition& wanted) {
  if (find_exchange_type(wanted.type) == nullptr) {
    return fail(ProtocolError{ReplyCode::precondition_failed,
                              "unknown exchange type '" + wanted.type + "'"});
  }
  return precheck_not_default(wanted.name);
}

Result<void, ProtocolError> precheck_not_default(std::string_view exchange) {
  if (exchange.empty()) return fail(default_exchange_refused());
  return {};
}

Result<void, ProtocolError> precheck_delete_exchange(std::string_view exchange,
                                                     std::string_view vhost) {
  if (exchange.empty()) return fail(default_exchange_refused());
  if (!is_reserved(exchange)) return {};
  return fail(
      ProtocolError{ReplyCode::access_refused,
                    "deletion of system " + exchange_text(exchange, vhost) + " not allowed"});
}

Result<void, ProtocolError> precheck_declare_queue(std::string_view queue) {
  if (is_reserved(queue)) return fail(reserved_name("queue", queue));
  return {};
}

Result<void, ProtocolError> precheck_bind_queue(std::string_view queue) {
  if (!is_reply_to_queue(queue)) return {};
  return fail(ProtocolError{ReplyCode::access_refused,
                            "cannot bind or unbind to a volatile (direct reply-to) queue"});
}

Result<void, ProtocolError> precheck_ends(const BindingDefinition& binding) {
  const bool leads_to_default =
      binding.destination_kind == DestinationKind::exchange && binding.destination.empty();
  if (binding.source.empty() || leads_to_default) return fail(default_exchange_refused());
  return {};
}

}  // namespace harrier
