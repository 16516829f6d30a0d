#include "broker/config/resource_keys.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <system_error>

#include <fmt/core.h>

#include "broker/config/value_syntax.h"

namespace harrier {
namespace {

constexpr std::uint64_t kGiB = 1ULL << 30;

// A part of something, as vm_memory_high_watermark.relative: 0.4
std::optional<double> parse_ratio(std::string_view text, double max) {
  double ratio = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ratio);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!(ratio > 0) || ratio > max) return std::nullopt;
  return ratio;
}

std::string show_ratio(double ratio) {
  return fmt::format("{}", ratio);
}

}  // namespace

bool set_memory_relative(Config& config, std::string_view value) {
  const std::optional<double> ratio = parse_ratio(value, 1);
  if (!ratio) return false;
  config.runtime.resources.memory_relative = *ratio;
  config.runtime.resources.memory_bytes.reset();
  return true;
}

bool set_memory_absolute(Config& config, std::string_view value) {
  const std::optional<std::uint64_t> octets = parse_number(value);
  if (octets) config.runtime.resources.memory_bytes = *octets;
  return octets.has_value();
}

bool set_paging_ratio(Config& config, std::string_view value) {
  const std::optional<double> ratio = parse_ratio(value, 1);
  if (ratio) config.runtime.resources.paging_ratio = *ratio;
  return ratio.has_value();
}

bool set_total_memory(Config& config, std::string_view value) {
  const std::optional<std::uint64_t> octets = parse_number(value);
  if (!octets || *octets == 0) return false;
  config.runtime.resources.total_memory_bytes = *octets;
  return true;
}

bool set_disk_relative(Config& config, std::string_view value) {
  constexpr double kTimesMemoryMax = 1000;
  const std::optional<double> ratio = parse_ratio(value, kTimesMemoryMax);
  if (!ratio) return false;
  config.runtime.resources.disk_relative = *ratio;
  config.runtime.resources.disk_free_bytes.reset();
  return true;
}

bool set_disk_absolute(Config& config, std::string_view value) {
  const std::optional<std::uint64_t> octets = parse_number(value);
  if (!octets) return false;
  config.runtime.resources.disk_free_bytes = *octets;
  config.runtime.resources.disk_relative.reset();
  return true;
}

std::string show_memory_relative(const Config& config) {
  return show_ratio(config.runtime.resources.memory_relative);
}

std::string show_memory_absolute(const Config& config) {
  return std::to_string(config.runtime.resources.memory_bytes.value_or(4 * kGiB));
}

std::string show_paging_ratio(const Config& config) {
  return show_ratio(config.runtime.resources.paging_ratio);
}

std::string show_total_memory(const Config& config) {
  return std::to_string(config.runtime.resources.total_memory_bytes.value_or(8 * kGiB));
}

std::string show_disk_relative(const Config& config) {
  return show_ratio(config.runtime.resources.disk_relative.value_or(1));
}

std::string show_disk_absolute(const Config& config) {
  return std::to_string(config.runtime.resources.disk_free_bytes.value_or(2 * kGiB));
}

}  // namespace harrier
