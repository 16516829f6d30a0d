#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "protocol/byte_order.h"

namespace harrier {

// Cursor over octets from a peer. Failure is sticky: reading past the end yields zeros and empty
// views from then on, so that a caller reads all fields straight and tests ok() once. Views borrow
// the octets read from.
class WireReader {
 public:
  explicit WireReader(ByteView octets) : at_(octets.data()), end_(at_ + octets.size()) {}

  std::uint8_t u8() { return integer<std::uint8_t>(); }

  std::uint16_t u16() { return integer<std::uint16_t>(); }

  std::uint32_t u32() { return integer<std::uint32_t>(); }

  std::uint64_t u64() { return integer<std::uint64_t>(); }

  ByteView octets(std::size_t n) {
    if (n > remaining()) [[unlikely]] {
      fail();
      return {};
    }
    ByteView view(at_, n);
    at_ += n;
    return view;
  }

  ByteView short_string() { return octets(u8()); }

  ByteView long_string() { return octets(u32()); }

  ByteView rest() { return octets(remaining()); }

  std::size_t remaining() const { return static_cast<std::size_t>(end_ - at_); }

  bool ok() const { return ok_; }

  bool at_end() const { return at_ == end_; }

  void fail() {
    ok_ = false;
    at_ = end_;
  }

 private:
  template <std::unsigned_integral T>
  T integer() {
    if (remaining() < sizeof(T)) [[unlikely]] {
      fail();
      return 0;
    }
    const T value = load_big_endian<T>(at_);
    at_ += sizeof(T);
    return value;
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace harrier
