#pragma once

#include <cstdint>

#include "broker/runtime/alarms.h"
#include "broker/runtime/resource_limits.h"

namespace harrier {

// What was found in use.
struct ResourceUse {
  std::uint64_t memory_bytes = 0;
  std::uint64_t disk_free_bytes = 0;
  bool store_is_full = false;  // a write was refused for lack of space
};

// Decides the alarms from what is in use. An alarm ends a little beyond its limit, so that it does
// not come and go with every message. Pure; used by one thread.
class ResourceMonitor {
 public:
  explicit ResourceMonitor(const ResourceLimits& limits) : limits_(limits) {}

  const ResourceLimits& limits() const { return limits_; }

  // Logs what changed.
  void update(const ResourceUse& use);

  const Alarms& alarms() const { return alarms_; }

  // Queues are to keep less in memory than usual.
  bool memory_is_tight() const { return tight_; }

 private:
  void set_memory(bool on, std::uint64_t used);
  void set_disk(bool on, const ResourceUse& use);

  const ResourceLimits limits_;
  Alarms alarms_;
  bool tight_ = false;
};

}  // namespace harrier
