#include "broker/runtime/resource_monitor.h"

#include <algorithm>

#include "base/log.h"

namespace harrier {
namespace {

constexpr Logger kLog("alarm");
constexpr std::uint64_t kMB = 1'000'000;

// Below this part of the memory limit, above that multiple of the disk limit, an alarm ends.
constexpr double kMemoryClears = 0.95;
constexpr double kDiskClears = 1.05;

std::uint64_t part(std::uint64_t octets, double factor) {
  return static_cast<std::uint64_t>(static_cast<double>(octets) * factor);
}

std::uint64_t default_disk_limit(const Machine& machine) {
  constexpr std::uint64_t kLeast = 50 * kMB;
  constexpr std::uint64_t kMost = 2000 * kMB;
  const std::uint64_t needed = std::min(machine.unwritten_bytes, machine.disk_bytes / 4);
  return std::clamp(std::max(machine.disk_bytes / 20, needed), kLeast, kMost);
}

// On while `value` is over `limit`, off again under the limit less 5 %.
bool is_over(bool was, std::uint64_t value, std::uint64_t limit) {
  return value > (was ? part(limit, kMemoryClears) : limit);
}

}  // namespace

ResourceLimits resolve(const ResourceConfig& config, const Machine& machine) {
  const std::uint64_t total = config.total_memory_bytes.value_or(machine.memory_bytes);
  ResourceLimits limits;
  limits.memory_bytes = config.memory_bytes.value_or(part(total, config.memory_relative));
  limits.paging_bytes = part(limits.memory_bytes, config.paging_ratio);
  limits.disk_free_bytes = default_disk_limit(machine);
  if (config.disk_relative) limits.disk_free_bytes = part(total, *config.disk_relative);
  if (config.disk_free_bytes) limits.disk_free_bytes = *config.disk_free_bytes;
  return limits;
}

void ResourceMonitor::update(const ResourceUse& use) {
  set_memory(is_over(alarms_.memory, use.memory_bytes, limits_.memory_bytes), use.memory_bytes);
  const std::uint64_t needed =
      alarms_.disk ? part(limits_.disk_free_bytes, kDiskClears) : limits_.disk_free_bytes;
  set_disk(use.store_is_full || use.disk_free_bytes < needed, use);
  tight_ = is_over(tight_, use.memory_bytes, limits_.paging_bytes);
}

void ResourceMonitor::set_memory(bool on, std::uint64_t used) {
  if (on == alarms_.memory) return;
  alarms_.memory = on;
  if (on) {
    kLog.warning(
        "memory high watermark exceeded: {} MB used, {} MB allowed; publishers are blocked until "
        "consumers catch up (vm_memory_high_watermark)",
        used / kMB, limits_.memory_bytes / kMB);
  } else {
    kLog.warning("memory alarm ends: {} MB used, {} MB allowed", used / kMB,
                 limits_.memory_bytes / kMB);
  }
}

void ResourceMonitor::set_disk(bool on, const ResourceUse& use) {
  if (on == alarms_.disk) return;
  alarms_.disk = on;
  if (on) {
    kLog.warning(
        "free disk space is low: {} MB free, {} MB wanted; publishers are blocked until there is "
        "more (disk_free_limit)",
        use.disk_free_bytes / kMB, limits_.disk_free_bytes / kMB);
  } else {
    kLog.warning("disk alarm ends: {} MB free, {} MB wanted", use.disk_free_bytes / kMB,
                 limits_.disk_free_bytes / kMB);
  }
}

}  // namespace harrier
