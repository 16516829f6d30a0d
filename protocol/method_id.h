#pragma once

#include <cstdint>

namespace harrier {

// The two numbers that open a METHOD frame's payload and that a close method blames.
struct MethodId {
  std::uint16_t class_id = 0;
  std::uint16_t method_id = 0;

  friend constexpr bool operator==(const MethodId&, const MethodId&) = default;
};

}  // namespace harrier
