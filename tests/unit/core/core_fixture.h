#pragma once

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/bytes.h"
#include "broker/core/virtual_host.h"
#include "protocol/field_table.h"
#include "protocol/reply_code.h"

namespace harrier::test {

using Fields = std::initializer_list<std::pair<std::string_view, Value>>;
using Names = std::vector<std::string>;

inline FieldTable table(Fields fields) {
  FieldTable made;
  for (const auto& [key, value] : fields)
    made.append(key, value);
  return made;
}

inline Value text(std::string_view octets) {
  return Value::long_string(octets);
}

inline Value number(std::int32_t value) {
  return Value::int32(value);
}

inline Value array(std::initializer_list<Value> values) {
  return Value::array(FieldArray{std::vector<Value>(values)});
}

// Octets of a table as a message brings them.
struct Headers {
  Headers() = default;

  explicit Headers(const FieldTable& fields) { fields.encode_fields(octets); }

  TableView view() const { return TableView{octets.view()}; }

  Buffer octets;
};

// "ok", or what the client reads in the close method.
template <class T>
std::string verdict(const Result<T, ProtocolError>& result) {
  return result ? "ok" : reply_text(result.error());
}

inline ExchangeDefinition an_exchange(std::string_view name, std::string_view type,
                                      FieldTable arguments = {}) {
  ExchangeDefinition made;
  made.name = name;
  made.type = type;
  made.arguments = std::move(arguments);
  return made;
}

inline QueueDefinition a_queue(std::string_view name, FieldTable arguments = {}) {
  QueueDefinition made;
  made.name = name;
  made.arguments = std::move(arguments);
  return made;
}

inline BindingDefinition to_queue(std::string_view source, std::string_view destination,
                                  std::string_view key = "", FieldTable arguments = {}) {
  BindingDefinition made;
  made.source = source;
  made.destination = destination;
  made.routing_key = key;
  made.arguments = std::move(arguments);
  return made;
}

inline BindingDefinition to_exchange(std::string_view source, std::string_view destination,
                                     std::string_view key = "") {
  BindingDefinition made = to_queue(source, destination, key);
  made.destination_kind = DestinationKind::exchange;
  return made;
}

// Where a random test starts; printed, and set by HARRIER_SEED to run it again.
inline unsigned random_seed() {
  const char* wanted = std::getenv("HARRIER_SEED");
  const unsigned seed = wanted == nullptr
                            ? std::random_device()()
                            : static_cast<unsigned>(std::strtoul(wanted, nullptr, 10));
  MESSAGE("HARRIER_SEED=", seed);
  return seed;
}

// A virtual host that is spoken to as a client does: every change is checked first.
struct Broker {
  static constexpr ConnectionId kConnection{1};

  std::string declare(const ExchangeDefinition& wanted) {
    const auto found = vhost.check_declare(wanted);
    if (found && *found == nullptr) vhost.add_exchange(wanted);
    return verdict(found);
  }

  std::string declare(const QueueDefinition& wanted, ConnectionId by = kConnection) {
    const auto found = vhost.check_declare(wanted, by);
    if (found && *found == nullptr) {
      QueueDefinition created = wanted;
      if (created.exclusive) {
        created.durable = false;
        created.owner = by;
      }
      vhost.add_queue(created);
    }
    return verdict(found);
  }

  std::string bind(const BindingDefinition& wanted, ConnectionId by = kConnection) {
    const auto is_new = vhost.check_bind(wanted, by);
    if (is_new && *is_new) vhost.add_binding(wanted);
    return verdict(is_new);
  }

  std::string unbind(const BindingDefinition& wanted, ConnectionId by = kConnection) {
    const auto exists = vhost.check_unbind(wanted, by);
    if (exists && *exists) removed = vhost.remove_binding(wanted);
    return verdict(exists);
  }

  // Names of the queues a message goes to, sorted.
  Names route_keys(std::string_view source, std::vector<std::string_view> keys,
                   const FieldTable& headers = {}) {
    const Headers octets(headers);
    vhost.route(*vhost.find_exchange(source), {keys, octets.view()}, routed);
    Names names;
    for (const QueueHandle* handle : routed)
      names.push_back(handle->name());
    std::sort(names.begin(), names.end());
    return names;
  }

  Names route(std::string_view source, std::string_view key, const FieldTable& headers = {}) {
    return route_keys(source, {key}, headers);
  }

  bool has_exchange(std::string_view name) const { return vhost.find_exchange(name) != nullptr; }

  VirtualHost vhost{"/"};
  std::vector<QueueHandle*> routed;
  Removed removed;
};

}  // namespace harrier::test

template <>
struct doctest::StringMaker<harrier::test::Names> {
  static String convert(const harrier::test::Names& names) {
    std::string shown;
    for (const std::string& name : names)
      shown += name + " ";
    return shown.c_str();
  }
};
