#pragma once

#include <cstdint>
#include <optional>

namespace harrier {

// How much memory and disk the broker takes before it blocks publishers (vm_memory_high_watermark,
// disk_free_limit). A relative limit and an absolute one exclude each other: the last one set wins.
struct ResourceConfig {
  double memory_relative = 0.6;  // of the memory this process may use
  std::optional<std::uint64_t> memory_bytes;
  double paging_ratio = 0.5;  // of the memory limit: from here on queues keep less in memory
  std::optional<std::uint64_t> total_memory_bytes;  // instead of what the system says

  std::optional<double> disk_relative;  // of the memory this process may use
  std::optional<std::uint64_t> disk_free_bytes;
};

// The same in octets.
struct ResourceLimits {
  std::uint64_t memory_bytes = 0;
  std::uint64_t paging_bytes = 0;
  std::uint64_t disk_free_bytes = 0;
};

// What the limits are measured against, in octets.
struct Machine {
  std::uint64_t memory_bytes = 0;  // that this process may use
  std::uint64_t disk_bytes = 0;    // size of the data directory's file system; 0: not known
  // What may still have to be written when publishers are stopped.
  std::uint64_t unwritten_bytes = 0;
};

// Without a configured disk limit it is 5 % of the disk, at least what may have to be written (but
// no more than a quarter of the disk) and 50 MB, at most 2 GB.
ResourceLimits resolve(const ResourceConfig& config, const Machine& machine);

}  // namespace harrier
