#include "broker/core/routing_keys.h"

#include <optional>
#include <string>

#include "base/assert.h"
#include "protocol/properties.h"

namespace harrier {
namespace {

constexpr std::string_view kCc = "CC";
constexpr std::string_view kBcc = "BCC";

Result<void, ProtocolError> append_keys(std::string_view header, const TableView& headers,
                                        std::vector<std::string_view>& keys) {
  const std::optional<ValueView> value = headers.find(header);
  if (!value) return {};
  const std::optional<ArrayView> array = as_array(*value);
  if (!array) {
    std::string text = "invalid message: {unacceptable_type_in_header,\"";
    text.append(header).append("\",").append(type_name(*value)).append("}");
    return fail(ProtocolError{ReplyCode::precondition_failed, std::move(text)});
  }
  for (const ValueView& element : *array) {
    if (const std::optional<std::string_view> key = as_string(element)) keys.push_back(*key);
  }
  return {};
}

}  // namespace

Result<void, ProtocolError> collect_routing_keys(std::string_view routing_key,
                                                 const TableView& headers,
                                                 std::vector<std::string_view>& keys) {
  keys.clear();
  keys.push_back(routing_key);
  if (headers.empty()) return {};
  if (auto appended = append_keys(kCc, headers, keys); !appended) return appended;
  return append_keys(kBcc, headers, keys);
}

bool has_bcc(const TableView& headers) {
  return headers.find(kBcc).has_value();
}

Buffer without_bcc(ByteView properties) {
  const std::optional<PropertiesView> parsed = parse_properties(properties);
  HARRIER_CHECK(parsed.has_value());
  HARRIER_CHECK(parsed->headers.has_value());
  FieldTable headers = parsed->headers->to_owned();
  headers.erase(kBcc);
  headers.sort_by_key();
  return with_headers(properties, headers);
}

}  // namespace harrier
