#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"

namespace harrier {

class Value;
struct Field;

// The octet in front of a table value. These are the letters that RabbitMQ and the clients agree on
// (its AMQP 0-9-1 errata), which differ from AMQP 0-9-1 §4.2.1: there `s` is a short string.
enum class FieldType : char {
  boolean = 't',
  int8 = 'b',
  uint8 = 'B',
  int16 = 's',
  uint16 = 'u',
  int32 = 'I',
  uint32 = 'i',
  int64 = 'l',
  int64_alias = 'L',  // read like `l`; kept so that a table goes out as it came in
  float32 = 'f',
  float64 = 'd',
  decimal = 'D',
  long_string = 'S',
  timestamp = 'T',
  table = 'F',
  array = 'A',
  binary = 'x',
  nothing = 'V',
};

// mantissa / 10^scale
struct Decimal {
  std::uint8_t scale = 0;
  std::uint32_t mantissa = 0;

  friend bool operator==(const Decimal&, const Decimal&) = default;
};

// Owned field table: queue arguments, message headers, capabilities. Keeps the order of its fields
// and duplicate keys, because headers pass through a broker unchanged.
class FieldTable {
 public:
  // The owned copy of a received table, given without its length prefix. Nothing if it is malformed
  // (see TableView::well_formed).
  static std::optional<FieldTable> decode(ByteView body_without_length);

  // Appends the table with its length prefix, or without.
  void encode(Buffer& out) const;
  void encode_fields(Buffer& out) const;

  // The first field of that name, or null. The pointer dies with the next change. O(fields).
  const Value* find(std::string_view key) const;

  // Replaces the first field of that name or appends one. `key` is at most 255 octets.
  void set(std::string_view key, Value value);

  // Appends, duplicate or not.
  void append(std::string_view key, Value value);

  // Removes every field of that name; false if there was none.
  bool erase(std::string_view key);

  // By octets, duplicates staying in order: the form in which a broker re-encodes edited headers.
  void sort_by_key();

  bool empty() const;
  std::size_t size() const;
  const Field* begin() const;
  const Field* end() const;

  // Same fields in the same order; values by operator==.
  friend bool operator==(const FieldTable& a, const FieldTable& b);

 private:
  std::vector<Field> fields_;
};

// Owned array of values of any types.
struct FieldArray {
  std::vector<Value> values;

  friend bool operator==(const FieldArray& a, const FieldArray& b);
};

// One value of a table with the exact type it had on the wire.
class Value {
 public:
  Value() = default;

  static Value boolean(bool value);
  static Value int32(std::int32_t value);
  static Value int64(std::int64_t value);
  // `type` is one of the integer types and can hold `value`.
  static Value integer(FieldType type, std::int64_t value);
  static Value float32(float value);
  static Value float64(double value);
  static Value decimal(Decimal value);
  static Value long_string(std::string_view text);
  static Value binary(std::string_view octets);
  static Value timestamp(std::uint64_t posix_seconds);
  static Value table(FieldTable table);
  static Value array(FieldArray array);
  static Value nothing();

  FieldType type() const { return type_; }

  // The content if it is stored as a T: bool, int64_t (every integer type), uint64_t (timestamp),
  // float, double, Decimal, std::string (long_string and binary), FieldTable, FieldArray.
  template <class T>
  const T* get_if() const {
    return std::get_if<T>(&content_);
  }

  // Calls `visitor` with the content in its stored type, std::monostate for nothing.
  template <class Visitor>
  auto visit(Visitor&& visitor) const {
    return std::visit(std::forward<Visitor>(visitor), content_);
  }

  // Appends type octet and content.
  void encode(Buffer& out) const;

  // Equal types and contents. `l` and `L` are one type.
  friend bool operator==(const Value& a, const Value& b);

 private:
  using Content = std::variant<std::monostate, bool, std::int64_t, std::uint64_t, float, double,
                               Decimal, std::string, FieldTable, FieldArray>;

  Value(FieldType type, Content content);

  FieldType type_ = FieldType::nothing;
  Content content_;
};

struct Field {
  std::string key;
  Value value;

  friend bool operator==(const Field&, const Field&) = default;
};

// Here because a Field is complete only now.
inline bool FieldTable::empty() const {
  return fields_.empty();
}

inline std::size_t FieldTable::size() const {
  return fields_.size();
}

inline const Field* FieldTable::begin() const {
  return fields_.data();
}

inline const Field* FieldTable::end() const {
  return fields_.data() + fields_.size();
}

// RabbitMQ's name of a type, as it appears in error texts: "signedint", "longstr", ...
std::string_view type_name(FieldType type);

inline std::string_view type_name(const Value& value) {
  return type_name(value.type());
}

bool is_integer(FieldType type);

// Content of a value if it has the type asked for. Integers come from every integer type, whatever
// its width; a string is a long_string and not a binary.
std::optional<bool> as_bool(const Value& value);
std::optional<std::int64_t> as_integer(const Value& value);
std::optional<std::uint64_t> as_timestamp(const Value& value);
std::optional<double> as_double(const Value& value);
const std::string* as_string(const Value& value);
const FieldTable* as_table(const Value& value);
const FieldArray* as_array(const Value& value);

// Whether two declarations mean the same: integers (and timestamps) by value whatever their width,
// float and double by value, all else by operator==.
bool equal_by_value(const Value& a, const Value& b);

// For error texts and traces: 5, true, some text, {k=v, k2=v2}, [a, b].
std::string to_text(const Value& value);
std::string to_text(const FieldTable& table);

}  // namespace harrier
