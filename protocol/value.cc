#include "protocol/value.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <system_error>

#include "base/assert.h"
#include "protocol/byte_order.h"

namespace harrier {

Value::Value(FieldType type, Content content) : type_(type), content_(std::move(content)) {}

Value Value::boolean(bool value) {
  return {FieldType::boolean, value};
}

Value Value::int32(std::int32_t value) {
  return {FieldType::int32, std::int64_t{value}};
}

Value Value::int64(std::int64_t value) {
  return {FieldType::int64, value};
}

Value Value::integer(FieldType type, std::int64_t value) {
  HARRIER_DCHECK(is_integer(type));
  return {type, value};
}

Value Value::float32(float value) {
  return {FieldType::float32, value};
}

Value Value::float64(double value) {
  return {FieldType::float64, value};
}

Value Value::decimal(Decimal value) {
  return {FieldType::decimal, value};
}

Value Value::long_string(std::string_view text) {
  return {FieldType::long_string, std::string(text)};
}

Value Value::binary(std::string_view octets) {
  return {FieldType::binary, std::string(octets)};
}

Value Value::timestamp(std::uint64_t posix_seconds) {
  return {FieldType::timestamp, posix_seconds};
}

Value Value::table(FieldTable table) {
  return {FieldType::table, std::move(table)};
}

Value Value::array(FieldArray array) {
  return {FieldType::array, std::move(array)};
}

Value Value::nothing() {
  return {};
}

const Value* FieldTable::find(std::string_view key) const {
  for (const Field& field : fields_) {
    if (field.key == key) return &field.value;
  }
  return nullptr;
}

void FieldTable::set(std::string_view key, Value value) {
  for (Field& field : fields_) {
    if (field.key == key) {
      field.value = std::move(value);
      return;
    }
  }
  append(key, std::move(value));
}

void FieldTable::append(std::string_view key, Value value) {
  HARRIER_CHECK(key.size() <= 255);
  fields_.push_back(Field{std::string(key), std::move(value)});
}

bool FieldTable::erase(std::string_view key) {
  return std::erase_if(fields_, [key](const Field& field) { return field.key == key; }) > 0;
}

void FieldTable::sort_by_key() {
  // Comparing strings compares unsigned octets, as Erlang's binaries do.
  std::stable_sort(fields_.begin(), fields_.end(),
                   [](const Field& a, const Field& b) { return a.key < b.key; });
}

// Encoding. A nested length is patched in once the content is written.

namespace {

template <class T>
void put(T value, Buffer& out) {
  store_big_endian(value, out.extend(sizeof value));
}

template <class WriteContent>
void put_with_length(Buffer& out, WriteContent&& write_content) {
  const std::size_t length_at = out.size();
  put<std::uint32_t>(0, out);
  write_content();
  const std::size_t length = out.size() - length_at - sizeof(std::uint32_t);
  HARRIER_CHECK(length <= UINT32_MAX);
  store_big_endian(static_cast<std::uint32_t>(length), out.data() + length_at);
}

// The low octets of a two's complement number are the number in that width.
void put_integer(FieldType type, std::int64_t value, Buffer& out) {
  switch (type) {
    case FieldType::int8:
    case FieldType::uint8:
      return put(static_cast<std::uint8_t>(value), out);
    case FieldType::int16:
    case FieldType::uint16:
      return put(static_cast<std::uint16_t>(value), out);
    case FieldType::int32:
    case FieldType::uint32:
      return put(static_cast<std::uint32_t>(value), out);
    default:
      return put(static_cast<std::uint64_t>(value), out);
  }
}

// Appends the content of a value, by what it is stored as.
struct ContentWriter {
  FieldType type;
  Buffer& out;

  void operator()(std::monostate) const {}

  void operator()(bool value) const { put<std::uint8_t>(value ? 1 : 0, out); }

  void operator()(std::int64_t value) const { put_integer(type, value, out); }

  void operator()(std::uint64_t value) const { put(value, out); }

  void operator()(float value) const { put(std::bit_cast<std::uint32_t>(value), out); }

  void operator()(double value) const { put(std::bit_cast<std::uint64_t>(value), out); }

  void operator()(const Decimal& value) const {
    put(value.scale, out);
    put(value.mantissa, out);
  }

  void operator()(const std::string& value) const {
    put_with_length(out, [&] { out.append(value); });
  }

  void operator()(const FieldTable& value) const { value.encode(out); }

  void operator()(const FieldArray& value) const {
    put_with_length(out, [&] {
      for (const Value& element : value.values)
        element.encode(out);
    });
  }
};

}  // namespace

void FieldTable::encode(Buffer& out) const {
  put_with_length(out, [&] { encode_fields(out); });
}

void FieldTable::encode_fields(Buffer& out) const {
  for (const Field& field : fields_) {
    put(static_cast<std::uint8_t>(field.key.size()), out);
    out.append(field.key);
    field.value.encode(out);
  }
}

void Value::encode(Buffer& out) const {
  put(static_cast<std::uint8_t>(type_), out);
  visit(ContentWriter{type_, out});
}

// Comparing.

bool operator==(const FieldTable& a, const FieldTable& b) {
  return a.fields_ == b.fields_;
}

bool operator==(const FieldArray& a, const FieldArray& b) {
  return a.values == b.values;
}

bool operator==(const Value& a, const Value& b) {
  return type_name(a) == type_name(b) && a.content_ == b.content_;
}

namespace {

// Integers and timestamps, which RabbitMQ compares as numbers.
std::optional<std::int64_t> as_comparable_integer(const Value& value) {
  if (const auto* seconds = value.get_if<std::uint64_t>()) {
    if (*seconds > INT64_MAX) return std::nullopt;
    return static_cast<std::int64_t>(*seconds);
  }
  return as_integer(value);
}

}  // namespace

bool equal_by_value(const Value& a, const Value& b) {
  const auto integer_a = as_comparable_integer(a);
  const auto integer_b = as_comparable_integer(b);
  if (integer_a && integer_b) return *integer_a == *integer_b;
  const auto double_a = as_double(a);
  const auto double_b = as_double(b);
  if (double_a && double_b) return *double_a == *double_b;
  return a == b;
}

// Asking.

std::string_view type_name(FieldType type) {
  switch (type) {
    case FieldType::boolean:
      return "bool";
    case FieldType::int8:
      return "byte";
    case FieldType::uint8:
      return "unsignedbyte";
    case FieldType::int16:
      return "short";
    case FieldType::uint16:
      return "unsignedshort";
    case FieldType::int32:
      return "signedint";
    case FieldType::uint32:
      return "unsignedint";
    case FieldType::int64:
    case FieldType::int64_alias:
      return "long";
    case FieldType::float32:
      return "float";
    case FieldType::float64:
      return "double";
    case FieldType::decimal:
      return "decimal";
    case FieldType::long_string:
      return "longstr";
    case FieldType::timestamp:
      return "timestamp";
    case FieldType::table:
      return "table";
    case FieldType::array:
      return "array";
    case FieldType::binary:
      return "binary";
    case FieldType::nothing:
      return "void";
  }
  return "unknown";
}

bool is_integer(FieldType type) {
  switch (type) {
    case FieldType::int8:
    case FieldType::uint8:
    case FieldType::int16:
    case FieldType::uint16:
    case FieldType::int32:
    case FieldType::uint32:
    case FieldType::int64:
    case FieldType::int64_alias:
      return true;
    default:
      return false;
  }
}

namespace {

template <class T>
std::optional<T> copy_if(const Value& value) {
  const T* content = value.get_if<T>();
  return content == nullptr ? std::nullopt : std::optional<T>(*content);
}

}  // namespace

std::optional<bool> as_bool(const Value& value) {
  return copy_if<bool>(value);
}

std::optional<std::int64_t> as_integer(const Value& value) {
  return copy_if<std::int64_t>(value);
}

std::optional<std::uint64_t> as_timestamp(const Value& value) {
  return copy_if<std::uint64_t>(value);
}

std::optional<double> as_double(const Value& value) {
  if (const float* narrow = value.get_if<float>()) return *narrow;
  return copy_if<double>(value);
}

const std::string* as_string(const Value& value) {
  return value.type() == FieldType::long_string ? value.get_if<std::string>() : nullptr;
}

const FieldTable* as_table(const Value& value) {
  return value.get_if<FieldTable>();
}

const FieldArray* as_array(const Value& value) {
  return value.get_if<FieldArray>();
}

// Printing.

namespace {

template <class T>
std::string shortest(T number) {
  char digits[64];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
  return error == std::errc() ? std::string(digits, end) : std::string();
}

struct TextOf {
  std::string operator()(std::monostate) const { return "undefined"; }

  std::string operator()(bool value) const { return value ? "true" : "false"; }

  std::string operator()(std::int64_t value) const { return shortest(value); }

  std::string operator()(std::uint64_t value) const { return shortest(value); }

  std::string operator()(float value) const { return shortest(value); }

  std::string operator()(double value) const { return shortest(value); }

  std::string operator()(const std::string& value) const { return value; }

  std::string operator()(const FieldTable& value) const { return to_text(value); }

  std::string operator()(const Decimal& value) const {
    return shortest(value.mantissa) + "e-" + shortest(unsigned{value.scale});
  }

  std::string operator()(const FieldArray& value) const {
    std::string text = "[";
    for (const Value& element : value.values) {
      if (text.size() > 1) text += ", ";
      text += to_text(element);
    }
    return text + "]";
  }
};

}  // namespace

std::string to_text(const Value& value) {
  return value.visit(TextOf());
}

std::string to_text(const FieldTable& table) {
  std::string text = "{";
  for (const Field& field : table) {
    if (text.size() > 1) text += ", ";
    text += field.key + "=" + to_text(field.value);
  }
  return text + "}";
}

}  // namespace harrier
