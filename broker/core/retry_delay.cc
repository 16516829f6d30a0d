#include "broker/core/retry_delay.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/assert.h"

namespace harrier {
namespace {

// Before jitter, in milliseconds. In doubles, so that nothing overflows.
double full_delay(const RetrySettings& retry, std::uint32_t count) {
  if (!retry.schedule.empty()) {
    const std::size_t last = retry.schedule.size() - 1;
    return static_cast<double>(retry.schedule[std::min<std::size_t>(count - 1, last)].count());
  }
  const auto min = static_cast<double>(retry.min.count());
  const double wanted = retry.multiplier ? min * std::pow(*retry.multiplier, count - 1.0)
                                         : min * static_cast<double>(count);
  return std::min(wanted, static_cast<double>(retry.max.count()));
}

}  // namespace

bool is_retried_later(RetryType type, Settlement how) {
  switch (type) {
    case RetryType::disabled:
      return false;
    case RetryType::all:
      return how != Settlement::unseen;
    case RetryType::failed:
      return how == Settlement::failed || how == Settlement::lost;
    case RetryType::returned:
      return how == Settlement::requeue;
  }
  return false;
}

Milliseconds retry_delay(const RetrySettings& retry, std::uint32_t count, double chance) {
  HARRIER_DCHECK(count >= 1);
  const double off = chance * retry.jitter_percent / 100.0;
  return Milliseconds(static_cast<std::int64_t>(full_delay(retry, count) * (1 - off)));
}

}  // namespace harrier
