#include "protocol/method_codec.h"

#include "protocol/erlang_term.h"

namespace harrier {

ProtocolError decode_error(DecodeStatus status, ByteView payload) {
  HARRIER_CHECK(status != DecodeStatus::ok);
  if (payload.size() < kMethodIdBytes) {
    return {ReplyCode::frame_error, "cannot decode " + erlang_binary_octets(payload), MethodId{}};
  }
  const MethodId id = peek_method_id(payload);
  const ByteView arguments = payload.substr(kMethodIdBytes);
  switch (status) {
    case DecodeStatus::unknown_method:
      return {ReplyCode::command_invalid, "unimplemented method", id};
    case DecodeStatus::bad_utf8:
      return {ReplyCode::frame_error, "Malformed UTF-8 in shortstr", MethodId{}};
    case DecodeStatus::bad_table:
      // RabbitMQ's reader dies of such a table without a word; a syntax error names what it is.
      return {ReplyCode::syntax_error, "malformed field table", id};
    default:
      return {ReplyCode::frame_error, "cannot decode " + erlang_binary_octets(arguments), id};
  }
}

namespace detail {

std::string_view MethodTrace::next_name(std::string_view& names) {
  const std::size_t comma = names.find(',');
  const std::string_view name = names.substr(0, comma);
  names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
  while (names.starts_with(' '))
    names.remove_prefix(1);
  return name;
}

void MethodTrace::print_name(std::string_view name) {
  if (text_.back() != '{') text_ += ", ";
  text_.append(name).append("=");
}

void MethodTrace::print(std::string_view name, std::uint64_t number) {
  if (number == 0) return;
  print_name(name);
  text_ += std::to_string(number);
}

void MethodTrace::print(std::string_view name, std::string_view text) {
  if (text.empty()) return;
  print_name(name);
  const bool secret = name == "response" || name == "challenge" || name == "new_secret";
  text_ += secret ? "***" : erlang_string(text);
}

void MethodTrace::print(std::string_view name, const TableView& table) {
  if (table.empty()) return;
  print_name(name);
  text_ += to_text(table.to_owned());
}

}  // namespace detail

}  // namespace harrier
