#include "protocol/field_table.h"

#include <array>
#include <bit>
#include <cmath>
#include <utility>

namespace harrier {

// Reading one value.

namespace {

bool is_finite(FieldType type, ByteView octets) {
  if (type == FieldType::float32) {
    return std::isfinite(std::bit_cast<float>(load_big_endian<std::uint32_t>(octets.data())));
  }
  return std::isfinite(std::bit_cast<double>(load_big_endian<std::uint64_t>(octets.data())));
}

}  // namespace

ValueView read_value(WireReader& reader) {
  ValueView value;
  value.type = static_cast<FieldType>(reader.u8());
  switch (value.type) {
    case FieldType::boolean:
    case FieldType::int8:
    case FieldType::uint8:
      value.octets = reader.octets(1);
      return value;
    case FieldType::int16:
    case FieldType::uint16:
      value.octets = reader.octets(2);
      return value;
    case FieldType::int32:
    case FieldType::uint32:
      value.octets = reader.octets(4);
      return value;
    case FieldType::int64:
    case FieldType::int64_alias:
    case FieldType::timestamp:
      value.octets = reader.octets(8);
      return value;
    case FieldType::float32:
      value.octets = reader.octets(4);
      if (reader.ok() && !is_finite(value.type, value.octets)) reader.fail();
      return value;
    case FieldType::float64:
      value.octets = reader.octets(8);
      if (reader.ok() && !is_finite(value.type, value.octets)) reader.fail();
      return value;
    case FieldType::decimal:
      value.octets = reader.octets(5);
      return value;
    case FieldType::long_string:
    case FieldType::binary:
    case FieldType::table:
    case FieldType::array:
      value.octets = reader.long_string();
      return value;
    case FieldType::nothing:
      return value;
  }
  reader.fail();
  return value;
}

// Validation keeps the outer levels on a stack of fixed size: no recursion that a hostile table
// could drive into the guard page.

namespace {

enum class Container : std::uint8_t {
  table,
  array,
};

struct OuterLevel {
  Container container;
  const char* at;
  std::size_t remaining;
};

bool is_well_formed(Container container, ByteView octets) {
  // Left uninitialised because nesting is rare and this runs for every message with headers.
  std::array<OuterLevel, kTableDepthMax - 1> outer;  // NOLINT(*-member-init)
  std::size_t outer_count = 0;
  WireReader reader(octets);
  while (true) {
    if (reader.at_end()) {
      if (outer_count == 0) return reader.ok();
      const OuterLevel& level = outer[--outer_count];
      container = level.container;
      reader = WireReader(ByteView(level.at, level.remaining));
      continue;
    }
    if (container == Container::table) reader.short_string();
    const ValueView value = read_value(reader);
    if (!reader.ok()) return false;
    if (value.type != FieldType::table && value.type != FieldType::array) continue;
    if (outer_count == outer.size()) return false;
    const ByteView rest = reader.rest();
    outer[outer_count++] = {container, rest.data(), rest.size()};
    container = value.type == FieldType::table ? Container::table : Container::array;
    reader = WireReader(value.octets);
  }
}

}  // namespace

bool TableView::well_formed() const {
  return is_well_formed(Container::table, octets);
}

bool ArrayView::well_formed() const {
  return is_well_formed(Container::array, octets);
}

// Looking.

TableView::Iterator& TableView::Iterator::operator++() {
  done_ = reader_.at_end();
  if (done_) return *this;
  field_.key = reader_.short_string();
  field_.value = read_value(reader_);
  done_ = !reader_.ok();
  return *this;
}

ArrayView::Iterator& ArrayView::Iterator::operator++() {
  done_ = reader_.at_end();
  if (done_) return *this;
  value_ = read_value(reader_);
  done_ = !reader_.ok();
  return *this;
}

std::optional<ValueView> TableView::find(std::string_view key) const {
  for (const FieldView& field : *this) {
    if (field.key == key) return field.value;
  }
  return std::nullopt;
}

std::optional<bool> as_bool(const ValueView& value) {
  if (value.type != FieldType::boolean) return std::nullopt;
  return value.octets[0] != 0;
}

std::optional<std::int64_t> as_integer(const ValueView& value) {
  const char* octets = value.octets.data();
  switch (value.type) {
    case FieldType::int8:
      return static_cast<std::int8_t>(octets[0]);
    case FieldType::uint8:
      return static_cast<std::uint8_t>(octets[0]);
    case FieldType::int16:
      return static_cast<std::int16_t>(load_big_endian<std::uint16_t>(octets));
    case FieldType::uint16:
      return load_big_endian<std::uint16_t>(octets);
    case FieldType::int32:
      return static_cast<std::int32_t>(load_big_endian<std::uint32_t>(octets));
    case FieldType::uint32:
      return load_big_endian<std::uint32_t>(octets);
    case FieldType::int64:
    case FieldType::int64_alias:
      return static_cast<std::int64_t>(load_big_endian<std::uint64_t>(octets));
    default:
      return std::nullopt;
  }
}

std::optional<std::uint64_t> as_timestamp(const ValueView& value) {
  if (value.type != FieldType::timestamp) return std::nullopt;
  return load_big_endian<std::uint64_t>(value.octets.data());
}

std::optional<std::string_view> as_string(const ValueView& value) {
  if (value.type != FieldType::long_string) return std::nullopt;
  return value.octets;
}

std::optional<TableView> as_table(const ValueView& value) {
  if (value.type != FieldType::table) return std::nullopt;
  return TableView{value.octets};
}

std::optional<ArrayView> as_array(const ValueView& value) {
  if (value.type != FieldType::array) return std::nullopt;
  return ArrayView{value.octets};
}

// Owning. The recursion is bounded by kTableDepthMax; deeper levels, which no well-formed table
// has, come out empty.

namespace {

FieldTable own(const TableView& view, std::size_t depth);
FieldArray own(const ArrayView& view, std::size_t depth);

Value own(const ValueView& view, std::size_t depth) {
  const char* octets = view.octets.data();
  switch (view.type) {
    case FieldType::boolean:
      return Value::boolean(octets[0] != 0);
    case FieldType::float32:
      return Value::float32(std::bit_cast<float>(load_big_endian<std::uint32_t>(octets)));
    case FieldType::float64:
      return Value::float64(std::bit_cast<double>(load_big_endian<std::uint64_t>(octets)));
    case FieldType::decimal:
      return Value::decimal(
          {static_cast<std::uint8_t>(octets[0]), load_big_endian<std::uint32_t>(octets + 1)});
    case FieldType::long_string:
      return Value::long_string(view.octets);
    case FieldType::binary:
      return Value::binary(view.octets);
    case FieldType::timestamp:
      return Value::timestamp(load_big_endian<std::uint64_t>(octets));
    case FieldType::table:
      return Value::table(own(TableView{view.octets}, depth + 1));
    case FieldType::array:
      return Value::array(own(ArrayView{view.octets}, depth + 1));
    case FieldType::nothing:
      return Value::nothing();
    default:
      return Value::integer(view.type, as_integer(view).value_or(0));
  }
}

FieldTable own(const TableView& view, std::size_t depth) {
  FieldTable table;
  if (depth > kTableDepthMax) return table;
  for (const FieldView& field : view)
    table.append(field.key, own(field.value, depth));
  return table;
}

FieldArray own(const ArrayView& view, std::size_t depth) {
  FieldArray array;
  if (depth > kTableDepthMax) return array;
  for (const ValueView& value : view)
    array.values.push_back(own(value, depth));
  return array;
}

}  // namespace

Value ValueView::to_owned() const {
  return own(*this, 1);
}

FieldTable TableView::to_owned() const {
  return own(*this, 1);
}

FieldArray ArrayView::to_owned() const {
  return own(*this, 1);
}

std::optional<FieldTable> FieldTable::decode(ByteView body_without_length) {
  const TableView view{body_without_length};
  if (!view.well_formed()) return std::nullopt;
  return view.to_owned();
}

}  // namespace harrier
