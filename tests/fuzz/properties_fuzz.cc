// Any octets as property flags and properties: what parses is written back octet by octet, save for
// the two flag bits that are ignored.

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "protocol/properties.h"

namespace harrier {

namespace {

void check(ByteView octets) {
  const auto view = parse_properties(octets);
  if (!view) return;
  std::string expected(octets);
  expected[1] = static_cast<char>(expected[1] & ~3);
  Buffer encoded;
  view->encode(encoded);
  HARRIER_CHECK(encoded.view() == expected);

  const std::string copy(octets);
  PropertiesView moved = *view;
  rebase(moved, octets.data(), copy.data());
  Buffer moved_octets;
  moved.encode(moved_octets);
  HARRIER_CHECK(moved_octets.view() == expected);

  const BasicProperties owned = to_owned(*view);
  Buffer owned_octets;
  owned.encode(owned_octets);
  HARRIER_CHECK(parse_properties(owned_octets.view()).has_value());
  HARRIER_CHECK(owned_octets.size() == octets.size());

  FieldTable headers;
  headers.set("x", Value::int32(1));
  HARRIER_CHECK(parse_properties(with_headers(octets, headers).view())->headers->find("x"));
  HARRIER_CHECK(!parse_properties(without_expiration(octets).view())->expiration);
  HARRIER_CHECK(parse_properties(with_reply_to(octets, "r").view())->reply_to == "r");
}

}  // namespace

}  // namespace harrier

// NOLINTNEXTLINE(readability-identifier-naming): the name is libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  harrier::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
