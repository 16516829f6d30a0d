#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "protocol/value.h"
#include "protocol/wire_reader.h"

namespace harrier {

class ArrayView;
class TableView;

// Tables in tables in tables: more levels than this make a table malformed. RabbitMQ knows no limit
// but the frame size, yet every level costs stack where owned values are copied or destroyed.
inline constexpr std::size_t kTableDepthMax = 128;

// A received value that was not decoded: its type and its octets without type octet and without
// length prefix. Borrows the octets of the table it came from.
struct ValueView {
  FieldType type = FieldType::nothing;
  ByteView octets;

  Value to_owned() const;
};

struct FieldView {
  std::string_view key;
  ValueView value;
};

std::optional<bool> as_bool(const ValueView& value);
std::optional<std::int64_t> as_integer(const ValueView& value);
std::optional<std::uint64_t> as_timestamp(const ValueView& value);
std::optional<std::string_view> as_string(const ValueView& value);
std::optional<TableView> as_table(const ValueView& value);
std::optional<ArrayView> as_array(const ValueView& value);

inline std::string_view type_name(const ValueView& value) {
  return type_name(value.type);
}

// Reads type octet and content. Fails the reader on an unknown type, on too few octets, and on a
// float that is NaN or infinite (RabbitMQ cannot represent those). Looks into no nested table.
ValueView read_value(WireReader& reader);

// A received table, still octets (without its length prefix), looked at in place. Valid as long as
// those octets are: for a method's argument until its frame is consumed.
//
//   field  = key-length:u8 key:octets value
//   value  = type:u8 content
//   content of S and x: length:u32 octets; of F: length:u32 fields; of A: length:u32 values
class TableView {
 public:
  ByteView octets;

  // Whether every field at every level can be decoded. Tables inside decoded methods and properties
  // have passed this.
  bool well_formed() const;

  bool empty() const { return octets.empty(); }

  // The first field of that name. No allocation. O(octets).
  std::optional<ValueView> find(std::string_view key) const;

  FieldTable to_owned() const;

  // Input iteration, which ends early at the first field that cannot be decoded.
  class Iterator {
   public:
    explicit Iterator(ByteView octets) : reader_(octets) { ++*this; }

    const FieldView& operator*() const { return field_; }

    const FieldView* operator->() const { return &field_; }

    Iterator& operator++();

    bool operator==(std::nullptr_t) const { return done_; }

   private:
    WireReader reader_;
    FieldView field_;
    bool done_ = false;
  };

  Iterator begin() const { return Iterator(octets); }

  std::nullptr_t end() const { return nullptr; }
};

// A received array, on the same terms as TableView.
class ArrayView {
 public:
  ByteView octets;

  bool well_formed() const;

  bool empty() const { return octets.empty(); }

  FieldArray to_owned() const;

  class Iterator {
   public:
    explicit Iterator(ByteView octets) : reader_(octets) { ++*this; }

    const ValueView& operator*() const { return value_; }

    const ValueView* operator->() const { return &value_; }

    Iterator& operator++();

    bool operator==(std::nullptr_t) const { return done_; }

   private:
    WireReader reader_;
    ValueView value_;
    bool done_ = false;
  };

  Iterator begin() const { return Iterator(octets); }

  std::nullptr_t end() const { return nullptr; }
};

}  // namespace harrier
