#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace harrier {

namespace detail {

template <std::unsigned_integral T>
constexpr T swap_if_little_endian(T value) {
  if constexpr (std::endian::native == std::endian::big || sizeof(T) == 1) {
    return value;
  } else if constexpr (sizeof(T) == 2) {
    return __builtin_bswap16(value);
  } else if constexpr (sizeof(T) == 4) {
    return __builtin_bswap32(value);
  } else {
    return __builtin_bswap64(value);
  }
}

}  // namespace detail

// AMQP integers are unsigned and big-endian (AMQP 0-9-1 §4.2.5.1).
template <std::unsigned_integral T>
T load_big_endian(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return detail::swap_if_little_endian(value);
}

template <std::unsigned_integral T>
void store_big_endian(T value, char* to) {
  value = detail::swap_if_little_endian(value);
  std::memcpy(to, &value, sizeof value);
}

}  // namespace harrier
