#include "tests/scenario_runner/method_text.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "protocol/method_codec.h"
#include "protocol/methods.h"
#include "protocol/properties.h"
#include "tests/scenario_runner/value_text.h"

namespace harrier::scenario {
namespace {

constexpr std::string_view kPropertyNames[] = {
    "content-type",   "content-encoding", "headers",    "delivery-mode", "priority",
    "correlation-id", "reply-to",         "expiration", "message-id",    "timestamp",
    "type",           "user-id",          "app-id",     "cluster-id",
};

// Takes the first of "a, b_c", as methods.h spells a group of fields; a hyphen is its AMQP
// spelling.
std::string take_name(std::string_view& names) {
  const std::size_t end = std::min(names.find(", "), names.size());
  std::string name(names.substr(0, end));
  names.remove_prefix(std::min(end + 2, names.size()));
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

template <class T>
T parse_unsigned(const Option& option) {
  const std::string text = unquote(option.value);
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw std::invalid_argument(option.name + " is not a number that fits: " + text);
  }
  return number;
}

bool parse_bit(const Option& option) {
  if (option.value == "true" || option.value == "on" || option.value == "1") return true;
  if (option.value == "false" || option.value == "off" || option.value == "0") return false;
  throw std::invalid_argument(option.name + " is not a bit: " + option.value);
}

FieldTable parse_table(const Option& option) {
  const Value value = parse_value(option.value);
  if (as_table(value) == nullptr) throw std::invalid_argument(option.name + " is not a table");
  return *as_table(value);
}

std::string parse_short_string(const Option& option) {
  std::string text = unquote(option.value);
  if (text.size() > 255) throw std::invalid_argument(option.name + " exceeds 255 octets");
  return text;
}

// Puts the texts of a scenario into the fields of a method. Owns what the views point to.
class FieldFiller {
 public:
  explicit FieldFiller(const std::vector<Option>& options) : options_(options) {}

  template <class... T>
  void operator()(std::string_view names, T&... fields) {
    (fill(take_name(names), fields), ...);
  }

  template <class... Bits>
  void bits(std::string_view names, Bits&... bits) {
    (fill(take_name(names), bits), ...);
  }

  template <class... T>
  void longstr(std::string_view names, T&... fields) {
    (fill_long(take_name(names), fields), ...);
  }

  void check_all_used() const {
    if (used_ != options_.size()) throw std::invalid_argument("a field that the method has not");
  }

 private:
  const Option* take(const std::string& name) {
    for (const Option& option : options_) {
      if (option.name != name) continue;
      ++used_;
      return &option;
    }
    return nullptr;
  }

  template <class T>
  void fill(const std::string& name, T& field) {
    const Option* option = take(name);
    if (option == nullptr) return;
    if constexpr (std::is_same_v<T, bool>) {
      field = parse_bit(*option);
    } else if constexpr (std::is_same_v<T, std::string_view>) {
      field = texts_.emplace_back(parse_short_string(*option));
    } else if constexpr (std::is_same_v<T, TableView>) {
      Buffer octets;
      parse_table(*option).encode_fields(octets);
      field = TableView{texts_.emplace_back(octets.view())};
    } else {
      field = parse_unsigned<T>(*option);
    }
  }

  void fill_long(const std::string& name, std::string_view& field) {
    const Option* option = take(name);
    if (option != nullptr) field = texts_.emplace_back(unquote(option->value));
  }

  const std::vector<Option>& options_;
  std::size_t used_ = 0;
  std::deque<std::string> texts_;
};

// Takes the fields of a method as named values.
class FieldCollector {
 public:
  template <class... T>
  void operator()(std::string_view names, const T&... fields) {
    (collected.append(take_name(names), value_of(fields)), ...);
  }

  template <class... Bits>
  void bits(std::string_view names, const Bits&... bits) {
    (collected.append(take_name(names), Value::boolean(bits)), ...);
  }

  template <class... T>
  void longstr(std::string_view names, const T&... fields) {
    (collected.append(take_name(names), Value::long_string(fields)), ...);
  }

  FieldTable collected;

 private:
  template <class T>
  static Value value_of(const T& field) {
    if constexpr (std::is_same_v<T, std::string_view>) {
      return Value::long_string(field);
    } else if constexpr (std::is_same_v<T, TableView>) {
      return Value::table(field.to_owned());
    } else {
      return Value::int64(static_cast<std::int64_t>(field));
    }
  }
};

// Calls `visit` with a default-constructed method of that name.
template <class Visit, class... M>
bool visit_named(MethodList<M...>, std::string_view name, Visit&& visit) {
  return ((name == M::kName ? (visit(M()), true) : false) || ...);
}

template <class Visit>
void visit_named(std::string_view name, Visit&& visit) {
  if (!visit_named(AllMethods(), name, visit)) {
    throw std::invalid_argument("there is no method " + std::string(name));
  }
}

}  // namespace

void encode_named(std::string_view method, ChannelNumber channel, const std::vector<Option>& fields,
                  Buffer& out) {
  visit_named(method, [&](auto m) {
    FieldFiller filler(fields);
    m.fields(filler);
    filler.check_all_used();
    encode_method(channel, m, out);
  });
}

MethodId method_id(std::string_view method) {
  MethodId id;
  visit_named(method, [&](const auto& m) { id = std::decay_t<decltype(m)>::kId; });
  return id;
}

bool is_method(std::string_view name) {
  return visit_named(AllMethods(), name, [](const auto&) {});
}

bool has_bit(std::string_view method, std::string_view field) {
  bool found = false;
  visit_named(method, [&](auto m) {
    FieldCollector collector;
    m.fields(collector);
    const Value* value = collector.collected.find(field);
    found = value != nullptr && value->type() == FieldType::boolean;
  });
  return found;
}

std::optional<NamedMethod> decode_named(ByteView payload) {
  NamedMethod named;
  const DecodeStatus status = visit_method(payload, [&](auto m) {
    using Method = decltype(m);
    named.name = Method::kName;
    named.id = Method::kId;
    named.has_content = Method::kHasContent;
    FieldCollector collector;
    m.fields(collector);
    named.fields = std::move(collector.collected);
  });
  if (status != DecodeStatus::ok) return std::nullopt;
  return named;
}

bool is_property(std::string_view name) {
  return std::find(std::begin(kPropertyNames), std::end(kPropertyNames), name) !=
         std::end(kPropertyNames);
}

std::string encode_properties(const std::vector<Option>& properties) {
  BasicProperties encoded;
  const auto* name = std::begin(kPropertyNames);
  const auto fill = [&](auto& property) {
    using T = typename std::decay_t<decltype(property)>::value_type;
    const auto option = std::find_if(properties.begin(), properties.end(),
                                     [&](const Option& o) { return o.name == *name; });
    ++name;
    if (option == properties.end()) return;
    if constexpr (std::is_same_v<T, std::string>) {
      property = parse_short_string(*option);
    } else if constexpr (std::is_same_v<T, FieldTable>) {
      property = parse_table(*option);
    } else {
      property = parse_unsigned<T>(*option);
    }
  };
  encoded.fields([&](auto&... property) { (fill(property), ...); });
  Buffer out;
  encoded.encode(out);
  return std::string(out.view());
}

std::optional<FieldTable> decode_properties(ByteView flags_and_fields) {
  const std::optional<PropertiesView> view = parse_properties(flags_and_fields);
  if (!view) return std::nullopt;
  BasicProperties properties = to_owned(*view);
  FieldTable named;
  const auto* name = std::begin(kPropertyNames);
  const auto collect = [&](const auto& property) {
    using T = typename std::decay_t<decltype(property)>::value_type;
    const std::string_view property_name = *name++;
    if (!property) return;
    if constexpr (std::is_same_v<T, std::string>) {
      named.append(property_name, Value::long_string(*property));
    } else if constexpr (std::is_same_v<T, FieldTable>) {
      named.append(property_name, Value::table(*property));
    } else {
      named.append(property_name, Value::int64(static_cast<std::int64_t>(*property)));
    }
  };
  properties.fields([&](const auto&... property) { (collect(property), ...); });
  return named;
}

}  // namespace harrier::scenario
