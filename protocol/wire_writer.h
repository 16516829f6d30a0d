#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/assert.h"
#include "base/bytes.h"
#include "protocol/byte_order.h"

namespace harrier {

// Cursor over memory that was reserved for exactly what is going to be written. Sizes are computed
// before (one growth of the buffer per frame), so running out of room is a bug of ours.
class WireWriter {
 public:
  // Writes into `size` fresh octets at the end of `out`, which must not grow meanwhile.
  WireWriter(Buffer& out, std::size_t size) : at_(out.extend(size)), end_(at_ + size) {}

  void u8(std::uint8_t value) { integer(value); }

  void u16(std::uint16_t value) { integer(value); }

  void u32(std::uint32_t value) { integer(value); }

  void u64(std::uint64_t value) { integer(value); }

  void octets(ByteView octets) {
    HARRIER_DCHECK(octets.size() <= room());
    if (!octets.empty()) std::memcpy(at_, octets.data(), octets.size());
    at_ += octets.size();
  }

  // A short string has one octet for its length: names are checked where they enter the broker.
  void short_string(ByteView text) {
    HARRIER_CHECK(text.size() <= 255);
    u8(static_cast<std::uint8_t>(text.size()));
    octets(text);
  }

  void long_string(ByteView text) {
    HARRIER_CHECK(text.size() <= UINT32_MAX);
    u32(static_cast<std::uint32_t>(text.size()));
    octets(text);
  }

  std::size_t room() const { return static_cast<std::size_t>(end_ - at_); }

 private:
  template <std::unsigned_integral T>
  void integer(T value) {
    HARRIER_DCHECK(sizeof(T) <= room());
    store_big_endian(value, at_);
    at_ += sizeof(T);
  }

  char* at_;
  char* end_;
};

}  // namespace harrier
