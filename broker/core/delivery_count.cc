#include "broker/core/delivery_count.h"

#include <optional>

#include "base/assert.h"
#include "protocol/properties.h"

namespace harrier {

Buffer with_delivery_count(ByteView properties, std::uint32_t count) {
  const std::optional<PropertiesView> parsed = parse_properties(properties);
  HARRIER_CHECK(parsed.has_value());
  FieldTable headers = parsed->headers ? parsed->headers->to_owned() : FieldTable();
  headers.set("x-delivery-count", Value::int64(count));
  headers.sort_by_key();
  return with_headers(properties, headers);
}

}  // namespace harrier
