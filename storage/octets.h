#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"

namespace harrier {

// Numbers as they lie in stored values: fixed ones little endian, varints seven bits per octet with
// the lowest first. Keys are big endian and live in keys.cc.
static_assert(std::endian::native == std::endian::little);

inline constexpr std::size_t kVarintMax = 10;

inline std::uint64_t zigzag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}

inline std::int64_t unzigzag(std::uint64_t value) {
  return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
}

template <class Number>
char* put_fixed(char* at, Number value) {
  std::memcpy(at, &value, sizeof(value));
  return at + sizeof(value);
}

inline char* put_varint(char* at, std::uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  return at;
}

inline char* put_octets(char* at, ByteView octets) {
  if (!octets.empty()) std::memcpy(at, octets.data(), octets.size());
  return at + octets.size();
}

template <class Number>
void append_fixed(Buffer& out, Number value) {
  put_fixed(out.extend(sizeof(value)), value);
}

inline void append_varint(Buffer& out, std::uint64_t value) {
  char scratch[kVarintMax];
  const char* end = put_varint(scratch, value);
  out.append({scratch, static_cast<std::size_t>(end - scratch)});
}

// Reads what the functions above wrote. The first read past the end makes the reader fail for good,
// and everything read from then on is zero or empty: test ok() once, at the end.
class OctetReader {
 public:
  explicit OctetReader(ByteView octets) : at_(octets.data()), end_(at_ + octets.size()) {}

  bool ok() const { return ok_; }

  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

  template <class Number>
  Number fixed() {
    Number value{};
    if (left() < sizeof(value)) return fail(), value;
    std::memcpy(&value, at_, sizeof(value));
    at_ += sizeof(value);
    return value;
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) break;
      const auto octet = static_cast<std::uint8_t>(*at_++);
      value |= std::uint64_t{octet & 0x7FU} << shift;
      if (octet < 0x80) return value;
    }
    fail();
    return 0;
  }

  ByteView octets(std::uint64_t size) {
    if (left() < size) return fail(), ByteView();
    const ByteView octets(at_, static_cast<std::size_t>(size));
    at_ += size;
    return octets;
  }

  void fail() {
    ok_ = false;
    at_ = end_;
  }

 private:
  const char* at_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace harrier
