#include "protocol/sasl.h"

#include "protocol/field_table.h"

namespace harrier {

namespace {

// RabbitMQ 4 takes a binary as well as a long string.
std::optional<std::string_view> find_text(const TableView& table, std::string_view key) {
  const std::optional<ValueView> value = table.find(key);
  if (!value) return std::nullopt;
  if (value->type != FieldType::long_string && value->type != FieldType::binary) {
    return std::nullopt;
  }
  return value->octets;
}

}  // namespace

std::optional<SaslCredentials> parse_plain(ByteView response) {
  if (!response.starts_with('\0')) return std::nullopt;
  const ByteView user_and_password = response.substr(1);
  const std::size_t separator = user_and_password.find('\0');
  if (separator == ByteView::npos) return std::nullopt;
  const ByteView password = user_and_password.substr(separator + 1);
  if (password.find('\0') != ByteView::npos) return std::nullopt;
  return SaslCredentials{user_and_password.substr(0, separator), password};
}

std::optional<SaslCredentials> parse_amqplain(ByteView response) {
  const TableView table{response};
  if (!table.well_formed()) return std::nullopt;
  const std::optional<std::string_view> user = find_text(table, "LOGIN");
  const std::optional<std::string_view> password = find_text(table, "PASSWORD");
  if (!user || !password) return std::nullopt;
  return SaslCredentials{*user, *password};
}

}  // namespace harrier
