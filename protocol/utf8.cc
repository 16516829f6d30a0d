#include "protocol/utf8.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace harrier {

namespace {

// Octets of the character that starts at `at`, or 0 if none does. The well-formed sequences are
// those of table 3-7 of the Unicode standard: only the second octet has bounds that vary.
std::size_t character_bytes(const unsigned char* at, std::size_t available) {
  const unsigned char first = at[0];
  if (first < 0x80) return 1;
  std::size_t bytes = 0;
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    bytes = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    bytes = 3;
    if (first == 0xE0) second_min = 0xA0;  // below is overlong
    if (first == 0xED) second_max = 0x9F;  // above are surrogates
  } else if (first >= 0xF0 && first <= 0xF4) {
    bytes = 4;
    if (first == 0xF0) second_min = 0x90;  // below is overlong
    if (first == 0xF4) second_max = 0x8F;  // above is beyond U+10FFFF
  }
  if (bytes == 0 || bytes > available) return 0;
  if (at[1] < second_min || at[1] > second_max) return 0;
  for (std::size_t i = 2; i < bytes; ++i) {
    if ((at[i] & 0xC0) != 0x80) return 0;
  }
  return bytes;
}

bool is_ascii_word(const unsigned char* at) {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return (word & 0x8080808080808080u) == 0;
}

}  // namespace

bool is_valid_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = at + text.size();
  while (at != end) {
    const auto available = static_cast<std::size_t>(end - at);
    if (available >= sizeof(std::uint64_t) && is_ascii_word(at)) {
      at += sizeof(std::uint64_t);
      continue;
    }
    const std::size_t bytes = character_bytes(at, available);
    if (bytes == 0) return false;
    at += bytes;
  }
  return true;
}

}  // namespace harrier
