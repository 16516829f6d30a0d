#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace harrier {

// Ten years: RabbitMQ's limit on every TTL.
inline constexpr std::int64_t kExpirationMsMax = 315'360'000'000;

// Milliseconds of the `expiration` property: digits with an optional sign. The error is what
// RabbitMQ writes after "invalid expiration '...': ", e.g. no_integer or {leftover_string,"s"}.
Result<std::int64_t, std::string> parse_expiration(std::string_view text);

}  // namespace harrier
