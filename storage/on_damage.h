#pragma once

#include <string_view>

namespace harrier {

// What to do about something that had been synced and cannot be read any more.
enum class OnDamage {
  refuse,  // fail
  accept,  // go on with what can be read, and log what is lost
  report   // change nothing
};

// How every refusal ends.
inline constexpr std::string_view kDamageMend =
    "restore a backup, or start with --accept-data-loss to go on with what can be read";

}  // namespace harrier
