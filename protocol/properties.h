#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "protocol/field_table.h"

namespace harrier {

// The fourteen properties of class basic, in the order of their flag bits: the first is bit 15 of
// the property-flags word, the last bit 2. A property may be present and empty.
//
// OFFSET  SIZE  what "properties" means wherever octets are called so
// 0       2     property-flags; bits 1 and 0 (continuation) are tolerated and ignored, as in
// RabbitMQ 2       ...   the present properties in this order
template <class String, class Table>
struct PropertyFields {
  std::optional<String> content_type{};
  std::optional<String> content_encoding{};
  std::optional<Table> headers{};
  std::optional<std::uint8_t> delivery_mode{};  // 2 is persistent, all else transient
  std::optional<std::uint8_t> priority{};
  std::optional<String> correlation_id{};
  std::optional<String> reply_to{};
  std::optional<String> expiration{};
  std::optional<String> message_id{};
  std::optional<std::uint64_t> timestamp{};  // POSIX seconds
  std::optional<String> type{};
  std::optional<String> user_id{};
  std::optional<String> app_id{};
  std::optional<String> cluster_id{};

  // The one list that decoding, encoding and copying go through.
  template <class V>
  void fields(V&& v) {
    v(content_type, content_encoding, headers, delivery_mode, priority, correlation_id, reply_to,
      expiration, message_id, timestamp, type, user_id, app_id, cluster_id);
  }

  bool persistent() const { return delivery_mode == 2; }

  // Appends property flags and properties.
  void encode(Buffer& out) const;
};

// Borrows the octets parsed.
using PropertiesView = PropertyFields<std::string_view, TableView>;
using BasicProperties = PropertyFields<std::string, FieldTable>;

extern template struct PropertyFields<std::string_view, TableView>;
extern template struct PropertyFields<std::string, FieldTable>;

// Nothing if the octets end early, go on after the last property, or hold a malformed header table.
std::optional<PropertiesView> parse_properties(ByteView flags_and_fields);

BasicProperties to_owned(const PropertiesView& view);

// Turns the views to a copy of the octets: `from` is where those parsed begin, `to` where the copy.
void rebase(PropertiesView& view, const char* from, const char* to);

// Marks of the broker's own in bits 1 and 0 of the flags, which are no properties. They stay with a
// message in memory and in the store. What clients send has none (content_assembler.cc), and none
// leaves to a client (frame.cc).
enum class PropertyMark : std::uint8_t {
  spent_copies = 1,  // what CC names is no routing key any more: the message died and got another
  own_deaths = 2,  // the history of deaths in the headers was written by a broker, not by a client
};

inline constexpr std::uint8_t kPropertyMarks = 3;

// The octet of encoded properties that the marks are in.
inline constexpr std::size_t kPropertyMarksOctet = 1;

inline bool has_mark(ByteView properties, PropertyMark mark) {
  return (static_cast<std::uint8_t>(properties[kPropertyMarksOctet]) &
          static_cast<std::uint8_t>(mark)) != 0;
}

void set_mark(Buffer& properties, PropertyMark mark);

// Copies of `properties`, which must parse, with one of them changed and the others verbatim.
Buffer with_headers(ByteView properties, const FieldTable& headers);
Buffer with_reply_to(ByteView properties, std::string_view reply_to);
Buffer without_expiration(ByteView properties);

}  // namespace harrier
