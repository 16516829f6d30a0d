#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace harrier {

// Hash of a name for containers that are searched by string_view without building a string. The
// call operator is deliberately not noexcept: libstdc++ then keeps the hash beside each element
// and compares it before it compares names.
struct NameHash {
  using is_transparent = void;

  // NOLINTNEXTLINE(performance-noexcept-*)
  std::size_t operator()(std::string_view name) const {
    return std::hash<std::string_view>()(name);
  }
};

template <class T>
using NameMap = std::unordered_map<std::string, T, NameHash, std::equal_to<>>;

// Folds another hash into `seed`.
inline std::size_t hash_combine(std::size_t seed, std::size_t hash) {
  return seed ^ (hash + 0x9e3779b97f4a7c15ULL + (seed << 6U) + (seed >> 2U));
}

}  // namespace harrier
