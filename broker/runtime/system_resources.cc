#include "broker/runtime/system_resources.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>

namespace harrier {
namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

std::uint64_t page_bytes() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// The number a control group's file holds; "max" and a missing file are no limit.
std::uint64_t limit_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t octets = 0;
  return file >> octets ? octets : kUnlimited;
}

// The tightest limit of our control group and those around it.
std::uint64_t group_limit() {
  std::uint64_t tightest = limit_in("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    constexpr std::string_view kVersion2 = "0::";
    if (!line.starts_with(kVersion2)) continue;
    std::filesystem::path group = "/sys/fs/cgroup" + line.substr(kVersion2.size());
    for (; group.string().size() > std::string_view("/sys/fs").size();
         group = group.parent_path()) {
      tightest = std::min(tightest, limit_in(group / "memory.max"));
    }
  }
  return tightest;
}

}  // namespace

std::uint64_t memory_available_to_us() {
  const std::uint64_t machine =
      static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * page_bytes();
  return std::min(machine, group_limit());
}

std::uint64_t memory_used_by_us() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  std::uint64_t shared = 0;
  if (!(file >> total >> resident >> shared)) return 0;
  return (resident - std::min(shared, resident)) * page_bytes();
}

void give_back_freed_memory() {
  ::malloc_trim(0);
}

}  // namespace harrier
