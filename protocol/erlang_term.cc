#include "protocol/erlang_term.h"

#include <algorithm>

namespace harrier {

namespace {

// The character as it stands inside quotes, or empty if it is not printable.
std::string_view quoted(const char& c) {
  switch (c) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\v':
      return "\\v";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\x1b':
      return "\\e";
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    default:
      return c >= ' ' && c <= '~' ? std::string_view(&c, 1) : std::string_view();
  }
}

bool is_printable(ByteView octets) {
  return std::all_of(octets.begin(), octets.end(),
                     [](const char& c) { return !quoted(c).empty(); });
}

std::string in_quotes(ByteView octets) {
  std::string text = "\"";
  for (const char& c : octets)
    text += quoted(c);
  text += '"';
  return text;
}

std::string as_numbers(ByteView octets) {
  std::string text;
  for (const char c : octets) {
    if (!text.empty()) text += ',';
    text += std::to_string(static_cast<unsigned char>(c));
  }
  return text;
}

}  // namespace

std::string erlang_binary(ByteView octets) {
  if (octets.empty() || !is_printable(octets)) return erlang_binary_octets(octets);
  return "<<" + in_quotes(octets) + ">>";
}

std::string erlang_binary_octets(ByteView octets) {
  return "<<" + as_numbers(octets) + ">>";
}

std::string erlang_string(ByteView octets) {
  if (octets.empty()) return "[]";
  if (is_printable(octets)) return in_quotes(octets);
  return "[" + as_numbers(octets) + "]";
}

}  // namespace harrier
