#include "broker/resource_watcher.h"

#include <chrono>
#include <utility>

#include "base/log.h"
#include "broker/runtime/system_resources.h"
#include "storage/disk_space.h"

namespace harrier {
namespace {

constexpr Logger kLog("alarm");
constexpr std::chrono::milliseconds kPause{250};
constexpr std::chrono::seconds kGiveBackPause{2};

}  // namespace

ResourceWatcher::ResourceWatcher(const ResourceLimits& limits, std::string data_dir,
                                 std::function<bool()> store_is_full, OnChange on_change)
    : monitor_(limits),
      data_dir_(std::move(data_dir)),
      store_is_full_(std::move(store_is_full)),
      on_change_(std::move(on_change)) {
  monitor_.update(measure());
  on_change_(monitor_.alarms(), monitor_.memory_is_tight());
  thread_ = std::thread([this] { run(); });
}

ResourceWatcher::~ResourceWatcher() {
  ending_.release();
  thread_.join();
}

void ResourceWatcher::run() {
  while (!ending_.try_acquire_for(kPause))
    look();
}

void ResourceWatcher::look() {
  const Alarms before = monitor_.alarms();
  const bool was_tight = monitor_.memory_is_tight();
  monitor_.update(measure());
  if (monitor_.alarms() == before && monitor_.memory_is_tight() == was_tight) return;
  on_change_(monitor_.alarms(), monitor_.memory_is_tight());
}

// What was freed but not given back does not count: it is given back first, now and then.
ResourceUse ResourceWatcher::measure() {
  ResourceUse use;
  use.memory_bytes = memory_used_by_us();
  const auto now = std::chrono::steady_clock::now();
  if (use.memory_bytes > monitor_.limits().paging_bytes && now >= given_back_at_ + kGiveBackPause) {
    given_back_at_ = now;
    give_back_freed_memory();
    use.memory_bytes = memory_used_by_us();
  }
  use.disk_free_bytes = free_disk();
  use.store_is_full = store_is_full_();
  return use;
}

// Where it cannot be told: what it was before.
std::uint64_t ResourceWatcher::free_disk() {
  const auto space = disk_space(data_dir_);
  if (space) {
    disk_free_bytes_ = space->free_bytes;
  } else if (disk_is_told_) {
    kLog.warning("{}; the disk alarm stays as it is", space.error().detail);
  }
  disk_is_told_ = space.has_value();
  return disk_free_bytes_;
}

}  // namespace harrier
