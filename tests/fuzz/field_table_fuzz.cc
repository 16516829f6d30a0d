// Any octets as a table: the view and the owned table agree on what is well formed, and what was
// decoded comes back from its own encoding.

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "protocol/field_table.h"

namespace harrier {

namespace {

std::size_t count_values(const ArrayView& array, std::size_t depth);

std::size_t count_values(const ValueView& value, std::size_t depth);

std::size_t count_values(const TableView& table, std::size_t depth) {
  std::size_t count = 0;
  for (const FieldView& field : table)
    count += count_values(field.value, depth);
  return count;
}

std::size_t count_values(const ArrayView& array, std::size_t depth) {
  std::size_t count = 0;
  for (const ValueView& value : array)
    count += count_values(value, depth);
  return count;
}

std::size_t count_values(const ValueView& value, std::size_t depth) {
  as_integer(value);
  as_bool(value);
  as_timestamp(value);
  if (depth > kTableDepthMax) return 1;
  if (const auto table = as_table(value)) return 1 + count_values(*table, depth + 1);
  if (const auto array = as_array(value)) return 1 + count_values(*array, depth + 1);
  return 1;
}

void check(ByteView octets) {
  const TableView view{octets};
  count_values(view, 1);  // malformed or not, looking is safe
  const auto table = FieldTable::decode(octets);
  HARRIER_CHECK(table.has_value() == view.well_formed());
  if (!table) return;

  Buffer encoded;
  table->encode_fields(encoded);
  // Not the same octets, since any octet but zero is true; yet as many, and the same table.
  HARRIER_CHECK(encoded.size() == octets.size());
  const auto again = FieldTable::decode(encoded.view());
  HARRIER_CHECK(again.has_value());
  HARRIER_CHECK(*again == *table);
  Buffer encoded_again;
  again->encode_fields(encoded_again);
  HARRIER_CHECK(encoded_again.view() == encoded.view());
  to_text(*table);
}

}  // namespace

}  // namespace harrier

// NOLINTNEXTLINE(readability-identifier-naming): the name is libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  harrier::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
