#pragma once

#include <cctype>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace harrier {

// Octets from hex digits; spaces are for the reader.
inline std::string from_hex(std::string_view hex) {
  std::string digits;
  for (const char c : hex) {
    if (c != ' ') digits += c;
  }
  std::string octets;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    octets += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  }
  return octets;
}

inline std::string to_hex(ByteView octets) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const char c : octets) {
    const auto octet = static_cast<unsigned char>(c);
    hex += kDigits[octet >> 4];
    hex += kDigits[octet & 15];
  }
  return hex;
}

}  // namespace harrier
