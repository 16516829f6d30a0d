#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace harrier {

// A number that cannot be mistaken for another kind of number. `Tag` only names the kind.
template <class Tag, class Rep = std::uint64_t>
struct StrongId {
  Rep value{};

  friend constexpr auto operator<=>(StrongId, StrongId) = default;  // NOLINT(modernize-use-nullptr)
};

}  // namespace harrier

template <class Tag, class Rep>
struct std::hash<harrier::StrongId<Tag, Rep>> {
  std::size_t operator()(harrier::StrongId<Tag, Rep> id) const noexcept {
    return std::hash<Rep>()(id.value);
  }
};
