#pragma once

namespace harrier {

// Prints the broken condition with its place and aborts. For our own bugs only: octets from the
// network or the disk never reach a check unvalidated.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace harrier

#define HARRIER_CHECK(condition)                \
  (__builtin_expect(!!(condition), 1) ? void(0) \
                                      : ::harrier::check_failed(#condition, __FILE__, __LINE__))

// Checks too costly for the hot path of a release build.
#ifdef NDEBUG
#define HARRIER_DCHECK(condition) void(sizeof(!!(condition)))
#else
#define HARRIER_DCHECK(condition) HARRIER_CHECK(condition)
#endif
