#include "storage/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace harrier {

namespace {

constexpr std::uint32_t kPolynomialReversed = 0x82F63B78;

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t octet = 0; octet < 256; ++octet) {
    std::uint32_t crc = octet;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomialReversed : 0);
    }
    table[octet] = crc;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kTable = make_table();

#if defined(__x86_64__)
constexpr std::size_t kStripe = 1024;

// Where a checksum is after kStripe more octets of zeros, by its four octets. Linear, so the values
// of single bits make up all others.
using StripeTable = std::array<std::array<std::uint32_t, 256>, 4>;

StripeTable make_stripe_table() {
  std::array<std::uint32_t, 32> of_bit{};
  for (std::size_t bit = 0; bit < of_bit.size(); ++bit) {
    std::uint32_t crc = std::uint32_t{1} << bit;
    for (std::size_t i = 0; i < kStripe; ++i)
      crc = (crc >> 8) ^ kTable[crc & 0xFF];
    of_bit[bit] = crc;
  }
  StripeTable table{};
  for (std::size_t octet = 0; octet < table.size(); ++octet) {
    for (std::size_t value = 0; value < 256; ++value) {
      for (std::size_t bit = 0; bit < 8; ++bit) {
        if ((value >> bit & 1) != 0) table[octet][value] ^= of_bit[8 * octet + bit];
      }
    }
  }
  return table;
}

std::uint32_t skip_stripe(const StripeTable& table, std::uint32_t crc) {
  return table[0][crc & 0xFF] ^ table[1][crc >> 8 & 0xFF] ^ table[2][crc >> 16 & 0xFF] ^
         table[3][crc >> 24];
}

std::uint64_t word_at(const char* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

// The instruction takes three cycles but a new one may start in each: three stripes at a time keep
// it busy.
__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse42(ByteView octets, std::uint32_t crc) {
  static const StripeTable table = make_stripe_table();
  const char* at = octets.data();
  std::size_t left = octets.size();
  std::uint64_t first = ~crc;
  for (; left >= 3 * kStripe; at += 3 * kStripe, left -= 3 * kStripe) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (const char* end = at + kStripe; at != end; at += 8) {
      first = _mm_crc32_u64(first, word_at(at));
      second = _mm_crc32_u64(second, word_at(at + kStripe));
      third = _mm_crc32_u64(third, word_at(at + 2 * kStripe));
    }
    at -= kStripe;
    const std::uint32_t both =
        skip_stripe(table, static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second);
    first = skip_stripe(table, both) ^ static_cast<std::uint32_t>(third);
  }
  for (; left >= 8; at += 8, left -= 8)
    first = _mm_crc32_u64(first, word_at(at));
  auto narrow = static_cast<std::uint32_t>(first);
  for (; left > 0; ++at, --left)
    narrow = _mm_crc32_u8(narrow, static_cast<std::uint8_t>(*at));
  return ~narrow;
}

bool has_instruction() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("sse4.2") != 0;
}
#else
std::uint32_t crc32c_sse42(ByteView octets, std::uint32_t crc) {
  return crc32c_by_table(octets, crc);
}

bool has_instruction() {
  return false;
}
#endif

// Trusted only after it agreed with the table once, on all its ways.
bool choose_fast() {
  std::array<char, 7001> sample{};
  for (std::size_t i = 0; i < sample.size(); ++i)
    sample[i] = static_cast<char>(i * i + i / 3);
  const ByteView octets(sample.data(), sample.size());
  return has_instruction() && crc32c_sse42(octets, 7) == crc32c_by_table(octets, 7);
}

}  // namespace

bool crc32c_is_fast() {
  static const bool fast = choose_fast();
  return fast;
}

std::uint32_t crc32c(ByteView octets, std::uint32_t crc) {
  return crc32c_is_fast() ? crc32c_sse42(octets, crc) : crc32c_by_table(octets, crc);
}

std::uint32_t crc32c_by_table(ByteView octets, std::uint32_t crc) {
  crc = ~crc;
  for (const char octet : octets) {
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<std::uint8_t>(octet)) & 0xFF];
  }
  return ~crc;
}

}  // namespace harrier
