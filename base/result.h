#pragma once

#include <tl/expected.hpp>
#include <utility>

namespace harrier {

// A value or the reason why there is none. The one alias for every fallible call, so that a later
// switch to std::expected touches this file only.
template <class T, class E>
using Result = tl::expected<T, E>;

template <class E>
[[nodiscard]] constexpr auto fail(E&& error) {
  return tl::unexpected<std::decay_t<E>>(std::forward<E>(error));
}

}  // namespace harrier
