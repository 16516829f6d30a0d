#include "broker/runtime/resource_monitor.h"

#include <doctest/doctest.h>

#include "base/log.h"
#include "broker/runtime/system_resources.h"

using namespace harrier;

namespace {

constexpr std::uint64_t kMB = 1'000'000;
constexpr std::uint64_t kGB = 1000 * kMB;

ResourceUse memory(std::uint64_t octets) {
  return {.memory_bytes = octets, .disk_free_bytes = 100 * kGB};
}

ResourceUse disk(std::uint64_t octets) {
  return {.disk_free_bytes = octets};
}

}  // namespace

TEST_SUITE("ResourceLimits") {
  TEST_CASE("defaults go by the size of the memory and the disk") {
    const ResourceLimits limits = resolve({}, {.memory_bytes = 10 * kGB, .disk_bytes = 20 * kGB});
    CHECK(limits.memory_bytes == 6 * kGB);
    CHECK(limits.paging_bytes == 3 * kGB);
    CHECK(limits.disk_free_bytes == kGB);
    CHECK(resolve({}, {.disk_bytes = 100 * kMB}).disk_free_bytes == 50 * kMB);
    CHECK(resolve({}, {.disk_bytes = 1000 * kGB}).disk_free_bytes == 2 * kGB);
  }

  TEST_CASE("the default leaves room for what the store has still to write") {
    const auto limit = [](std::uint64_t disk, std::uint64_t unwritten) {
      return resolve({}, {.disk_bytes = disk, .unwritten_bytes = unwritten}).disk_free_bytes;
    };
    CHECK(limit(4 * kGB, 500 * kMB) == 500 * kMB);
    CHECK(limit(kGB, 500 * kMB) == 250 * kMB);
    CHECK(limit(0, 500 * kMB) == 50 * kMB);
    CHECK(limit(100 * kGB, 3 * kGB) == 2 * kGB);
  }

  TEST_CASE("what is configured goes first") {
    ResourceConfig config;
    config.memory_bytes = 300 * kMB;
    config.paging_ratio = 0.75;
    config.disk_free_bytes = kMB;
    ResourceLimits limits = resolve(config, {.memory_bytes = 10 * kGB, .disk_bytes = 20 * kGB});
    CHECK(limits.memory_bytes == 300 * kMB);
    CHECK(limits.paging_bytes == 225 * kMB);
    CHECK(limits.disk_free_bytes == kMB);

    config = {};
    config.total_memory_bytes = kGB;
    config.memory_relative = 0.5;
    config.disk_relative = 2;
    limits = resolve(config, {.memory_bytes = 10 * kGB, .disk_bytes = 20 * kGB});
    CHECK(limits.memory_bytes == 500 * kMB);
    CHECK(limits.disk_free_bytes == 2 * kGB);
  }
}

TEST_SUITE("ResourceMonitor") {
  TEST_CASE("the memory alarm comes above the watermark and goes 5 % below it") {
    configure_logging(LogConfig{LogLevel::none, LogLevel::none, {}});
    ResourceMonitor monitor({.memory_bytes = 100 * kMB, .paging_bytes = 50 * kMB});
    monitor.update(memory(100 * kMB));
    CHECK_FALSE(monitor.alarms().any());
    CHECK(monitor.memory_is_tight());
    monitor.update(memory(100 * kMB + 1));
    CHECK(monitor.alarms() == Alarms{.memory = true});
    CHECK(blocked_reason(monitor.alarms()) == "low on memory");
    monitor.update(memory(96 * kMB));
    CHECK(monitor.alarms().memory);
    monitor.update(memory(95 * kMB));
    CHECK_FALSE(monitor.alarms().memory);
    CHECK(monitor.memory_is_tight());
    monitor.update(memory(40 * kMB));
    CHECK_FALSE(monitor.memory_is_tight());
  }

  TEST_CASE("the disk alarm comes below the limit and goes 5 % above it") {
    configure_logging(LogConfig{LogLevel::none, LogLevel::none, {}});
    ResourceMonitor monitor({.memory_bytes = kGB, .disk_free_bytes = 100 * kMB});
    monitor.update(disk(100 * kMB));
    CHECK_FALSE(monitor.alarms().any());
    monitor.update(disk(100 * kMB - 1));
    CHECK(monitor.alarms() == Alarms{.disk = true});
    CHECK(blocked_reason(monitor.alarms()) == "low on disk");
    monitor.update(disk(104 * kMB));
    CHECK(monitor.alarms().disk);
    monitor.update(disk(105 * kMB));
    CHECK_FALSE(monitor.alarms().any());
  }

  TEST_CASE("a store that was refused space raises the disk alarm whatever the disk says") {
    configure_logging(LogConfig{LogLevel::none, LogLevel::none, {}});
    ResourceMonitor monitor({.memory_bytes = 100 * kMB});
    monitor.update({.memory_bytes = 200 * kMB, .disk_free_bytes = kGB, .store_is_full = true});
    CHECK(monitor.alarms() == Alarms{.memory = true, .disk = true});
    CHECK(blocked_reason(monitor.alarms()) == "low on memory & disk");
    monitor.update(disk(kGB));
    CHECK_FALSE(monitor.alarms().any());
  }
}

TEST_SUITE("system resources") {
  TEST_CASE("what the system says is plausible") {
    CHECK(memory_used_by_us() > 100'000);
    CHECK(memory_used_by_us() < memory_available_to_us());
    give_back_freed_memory();
  }
}
