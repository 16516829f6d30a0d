#include "broker/core/exchange_types.h"

namespace harrier {
namespace {

constexpr ExchangeTypeEntry kExchangeTypes[] = {
    {"direct", make_direct_exchange},
    {"fanout", make_fanout_exchange},
    {"headers", make_headers_exchange},
    {"topic", make_topic_exchange},
    {"x-consistent-hash", make_consistent_hash_exchange, validate_consistent_hash_exchange},
    {"x-delayed-message", make_delayed_exchange, validate_delayed_exchange},
    {"x-local-random", make_local_random_exchange},
    {"x-modulus-hash", make_modulus_hash_exchange},
    {"x-random", make_random_exchange},
    {"x-recent-history", make_recent_history_exchange, validate_recent_history_exchange},
};

}  // namespace

std::span<const ExchangeTypeEntry> exchange_types() {
  return kExchangeTypes;
}

const ExchangeTypeEntry* find_exchange_type(std::string_view name) {
  for (const ExchangeTypeEntry& entry : kExchangeTypes) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace harrier
