#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <semaphore>
#include <string>
#include <thread>

#include "broker/runtime/alarms.h"
#include "broker/runtime/resource_monitor.h"

namespace harrier {

// Looks at memory and disk several times a second, on a thread of its own: giving memory back to
// the system may take longer than a shard can wait.
class ResourceWatcher {
 public:
  // Called on the watcher's thread when something changed, and once at the start.
  using OnChange = std::function<void(const Alarms& alarms, bool memory_is_tight)>;

  // `store_is_full` tells whether the store was refused space; called on the watcher's thread.
  ResourceWatcher(const ResourceLimits& limits, std::string data_dir,
                  std::function<bool()> store_is_full, OnChange on_change);
  ~ResourceWatcher();
  ResourceWatcher(const ResourceWatcher&) = delete;
  ResourceWatcher& operator=(const ResourceWatcher&) = delete;

 private:
  void run();
  void look();
  ResourceUse measure();
  std::uint64_t free_disk();

  ResourceMonitor monitor_;
  const std::string data_dir_;
  const std::function<bool()> store_is_full_;
  const OnChange on_change_;
  std::uint64_t disk_free_bytes_ = UINT64_MAX;
  bool disk_is_told_ = true;
  std::binary_semaphore ending_{0};
  std::chrono::steady_clock::time_point given_back_at_{};
  std::thread thread_;
};

}  // namespace harrier
