#pragma once

#include <cstdint>
#include <string_view>

namespace harrier {

// Hashes that are the same in every process and on every machine: where a message goes may depend
// on them, and must not change with a restart or an upgrade. The tests hold their values.

// Spreads the bits of `value` over the whole word; one to one. The finalizer of SplitMix64.
constexpr std::uint64_t stable_mix(std::uint64_t value) {
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31U);
}

// FNV-1a, which is quick for keys of some octets, then mixed, which it needs.
constexpr std::uint64_t stable_hash(std::string_view octets,
                                    std::uint64_t seed = 0xcbf29ce484222325ULL) {
  std::uint64_t hash = seed;
  for (const char octet : octets) {
    hash = (hash ^ static_cast<unsigned char>(octet)) * 0x100000001b3ULL;
  }
  return stable_mix(hash);
}

}  // namespace harrier
