#pragma once

#include <string_view>

namespace harrier {

// What the broker is short of. While any is set, connections that publish are blocked; consumers go
// on, because they are what makes room.
struct Alarms {
  bool memory = false;
  bool disk = false;

  bool any() const { return memory || disk; }

  friend bool operator==(const Alarms&, const Alarms&) = default;
};

// connection.blocked/reason, in RabbitMQ's words. Only while any() is set.
constexpr std::string_view blocked_reason(const Alarms& alarms) {
  if (alarms.memory && alarms.disk) return "low on memory & disk";
  return alarms.memory ? "low on memory" : "low on disk";
}

}  // namespace harrier
