#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"
#include "broker/core/definitions.h"
#include "broker/core/exchange.h"
#include "protocol/reply_code.h"

namespace harrier {

// What `type` of exchange.declare may name. A new type is a file in exchanges/ and one row of the
// table in exchange_types.cc.
struct ExchangeTypeEntry {
  std::string_view name;
  // An exchange without bindings. The arguments of the definition have been validated.
  std::unique_ptr<ExchangeType> (*make)(const ExchangeDefinition& definition);
  // Refuses declare arguments this type cannot serve (PRECONDITION_FAILED); null when it has none.
  Result<void, ProtocolError> (*validate)(const ExchangeDefinition& definition) = nullptr;
};

std::span<const ExchangeTypeEntry> exchange_types();

// Null when there is no such type.
const ExchangeTypeEntry* find_exchange_type(std::string_view name);

std::unique_ptr<ExchangeType> make_direct_exchange(const ExchangeDefinition& definition);
std::unique_ptr<ExchangeType> make_fanout_exchange(const ExchangeDefinition& definition);
std::unique_ptr<ExchangeType> make_headers_exchange(const ExchangeDefinition& definition);
std::unique_ptr<ExchangeType> make_topic_exchange(const ExchangeDefinition& definition);
std::unique_ptr<ExchangeType> make_consistent_hash_exchange(const ExchangeDefinition& definition);
std::unique_ptr<ExchangeType> make_delayed_exchange(const ExchangeDefinition& definition);
std::unique_ptr<ExchangeType> make_local_random_exchange(const ExchangeDefinition& definition);
std::unique_ptr<ExchangeType> make_modulus_hash_exchange(const ExchangeDefinition& definition);
std::unique_ptr<ExchangeType> make_random_exchange(const ExchangeDefinition& definition);
std::unique_ptr<ExchangeType> make_recent_history_exchange(const ExchangeDefinition& definition);

Result<void, ProtocolError> validate_consistent_hash_exchange(const ExchangeDefinition& definition);
Result<void, ProtocolError> validate_delayed_exchange(const ExchangeDefinition& definition);
Result<void, ProtocolError> validate_recent_history_exchange(const ExchangeDefinition& definition);

}  // namespace harrier
