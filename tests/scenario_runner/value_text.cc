#include "tests/scenario_runner/value_text.h"

#include <charconv>
#include <limits>
#include <regex>
#include <stdexcept>
#include <utility>

namespace harrier::scenario {
namespace {

struct TypeWord {
  std::string_view word;
  FieldType type;
};

constexpr TypeWord kTypeWords[] = {
    {"int8", FieldType::int8},       {"uint8", FieldType::uint8},
    {"int16", FieldType::int16},     {"uint16", FieldType::uint16},
    {"int32", FieldType::int32},     {"uint32", FieldType::uint32},
    {"int64", FieldType::int64},     {"long", FieldType::int64_alias},
    {"float", FieldType::float32},   {"double", FieldType::float64},
    {"decimal", FieldType::decimal}, {"string", FieldType::long_string},
    {"bytes", FieldType::binary},    {"time", FieldType::timestamp},
};

[[noreturn]] void bad(std::string_view what) {
  throw std::invalid_argument("not a value: " + std::string(what));
}

template <class T>
T parse_number(std::string_view text) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) bad(text);
  return number;
}

bool is_integer_text(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  return !digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos;
}

Value typed_value(FieldType type, std::string_view text) {
  switch (type) {
    case FieldType::float32:
      return Value::float32(parse_number<float>(text));
    case FieldType::float64:
      return Value::float64(parse_number<double>(text));
    case FieldType::decimal: {
      const std::size_t slash = text.find('/');
      if (slash == std::string_view::npos) bad(text);
      return Value::decimal({parse_number<std::uint8_t>(text.substr(0, slash)),
                             parse_number<std::uint32_t>(text.substr(slash + 1))});
    }
    case FieldType::long_string:
      return Value::long_string(unquote(text));
    case FieldType::binary:
      return Value::binary(unquote(text));
    case FieldType::timestamp:
      return Value::timestamp(parse_number<std::uint64_t>(text));
    default:
      return Value::integer(type, parse_number<std::int64_t>(text));
  }
}

// Recursive descent over one word.
class ValueParser {
 public:
  explicit ValueParser(std::string_view text) : text_(text) {}

  Value parse_all() {
    Value value = parse();
    skip_spaces();
    if (at_ != text_.size()) bad(text_);
    return value;
  }

 private:
  Value parse() {
    skip_spaces();
    if (take('{')) return parse_table();
    if (take('[')) return parse_array();
    return parse_scalar(take_until(",]}"));
  }

  Value parse_table() {
    FieldTable table;
    while (!take('}')) {
      const std::string key = unquote(take_until("="));
      if (!take('=')) bad(text_);
      table.append(key, parse());
      if (!take(',') && !looking_at('}')) bad(text_);
    }
    return Value::table(std::move(table));
  }

  Value parse_array() {
    FieldArray array;
    while (!take(']')) {
      array.values.push_back(parse());
      if (!take(',') && !looking_at(']')) bad(text_);
    }
    return Value::array(std::move(array));
  }

  static Value parse_scalar(std::string_view text) {
    if (text.starts_with('"')) return Value::long_string(unquote(text));
    if (text == "true") return Value::boolean(true);
    if (text == "false") return Value::boolean(false);
    if (text == "void") return Value::nothing();
    for (const TypeWord& candidate : kTypeWords) {
      if (text.starts_with(candidate.word) && text.substr(candidate.word.size()).starts_with(':')) {
        return typed_value(candidate.type, text.substr(candidate.word.size() + 1));
      }
    }
    if (!is_integer_text(text)) return Value::long_string(text);
    const auto number = parse_number<std::int64_t>(text);
    const bool fits = number >= std::numeric_limits<std::int32_t>::min() &&
                      number <= std::numeric_limits<std::int32_t>::max();
    return fits ? Value::int32(static_cast<std::int32_t>(number)) : Value::int64(number);
  }

  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ')
      ++at_;
  }

  bool looking_at(char c) {
    skip_spaces();
    return at_ < text_.size() && text_[at_] == c;
  }

  bool take(char c) {
    if (!looking_at(c)) return false;
    ++at_;
    return true;
  }

  // The text before the first of `ends` outside quotes.
  std::string_view take_until(std::string_view ends) {
    skip_spaces();
    const std::size_t start = at_;
    bool quoted = false;
    for (; at_ < text_.size(); ++at_) {
      if (quoted && text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        quoted = !quoted;
      } else if (!quoted && ends.find(text_[at_]) != std::string_view::npos) {
        break;
      }
    }
    return text_.substr(start, std::min(at_, text_.size()) - start);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (octet < 0x20 || octet == 0x7f) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      out += "\\x";
      out += kDigits[octet >> 4];
      out += kDigits[octet & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

bool same_or_contains(const Value& whole, const Value& part) {
  const FieldTable* whole_table = as_table(whole);
  const FieldTable* part_table = as_table(part);
  if (whole_table == nullptr || part_table == nullptr) return whole == part;
  return contains(*whole_table, *part_table);
}

}  // namespace

Value parse_value(std::string_view text) {
  return ValueParser(text).parse_all();
}

std::string plain_text(const Value& value) {
  if (const auto* text = value.get_if<std::string>()) return *text;
  if (const auto* number = value.get_if<std::int64_t>()) return std::to_string(*number);
  if (const auto* seconds = value.get_if<std::uint64_t>()) return std::to_string(*seconds);
  if (const auto* flag = value.get_if<bool>()) return *flag ? "true" : "false";
  return to_language(value);
}

std::string to_language(const Value& value) {
  std::string prefix;
  for (const TypeWord& candidate : kTypeWords) {
    if (candidate.type == value.type()) prefix = std::string(candidate.word) + ":";
  }
  switch (value.type()) {
    case FieldType::boolean:
    case FieldType::int32:
      return plain_text(value);
    case FieldType::long_string:
      return quoted(plain_text(value));
    case FieldType::binary:
      return prefix + quoted(plain_text(value));
    case FieldType::nothing:
      return "void";
    case FieldType::table:
      return to_language(*as_table(value));
    case FieldType::array: {
      std::string text = "[";
      for (const Value& element : as_array(value)->values) {
        if (text.size() > 1) text += ',';
        text += to_language(element);
      }
      return text + "]";
    }
    case FieldType::float32:
    case FieldType::float64:
      return prefix + std::to_string(as_double(value).value_or(0));
    case FieldType::decimal: {
      const auto* decimal = value.get_if<Decimal>();
      return prefix + std::to_string(decimal->scale) + "/" + std::to_string(decimal->mantissa);
    }
    default:
      return prefix + plain_text(value);
  }
}

std::string to_language(const FieldTable& table) {
  std::string text = "{";
  for (const Field& field : table) {
    if (text.size() > 1) text += ',';
    text += field.key + "=" + to_language(field.value);
  }
  return text + "}";
}

bool contains(const FieldTable& whole, const FieldTable& part) {
  for (const Field& wanted : part) {
    const Value* found = whole.find(wanted.key);
    if (found == nullptr || !same_or_contains(*found, wanted.value)) return false;
  }
  return true;
}

bool matches(const Value& actual, const Option& expected) {
  if (expected.compare == Option::Compare::regex) {
    return std::regex_search(plain_text(actual), std::regex(unquote(expected.value)));
  }
  if (const FieldTable* table = as_table(actual)) {
    const Value wanted = parse_value(expected.value);
    if (as_table(wanted) == nullptr) bad(expected.value);
    return expected.compare == Option::Compare::contains ? contains(*table, *as_table(wanted))
                                                         : *table == *as_table(wanted);
  }
  return plain_text(actual) == unquote(expected.value);
}

}  // namespace harrier::scenario
