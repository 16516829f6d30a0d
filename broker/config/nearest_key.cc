#include "broker/config/nearest_key.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "broker/config/config_keys.h"
#include "broker/config/rabbitmq_keys.h"

namespace harrier {
namespace {

// Number of single-character edits between two words, a swap of neighbours counting as one.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replace, last[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

// The name with the last part of `like` for its star.
std::string with_part_of(std::string_view name, std::string_view like) {
  const std::string_view prefix = list_prefix(name);
  if (prefix.empty()) return std::string(name);
  const std::size_t dot = like.rfind('.');
  const std::string_view part = dot == std::string_view::npos ? "1" : like.substr(dot + 1);
  return std::string(prefix) + std::string(part);
}

}  // namespace

std::optional<std::string> nearest_config_key(std::string_view name) {
  constexpr std::size_t kLengthMax = 128;  // the distance costs the product of the lengths
  if (name.size() > kLengthMax) return std::nullopt;
  std::size_t nearest = std::max<std::size_t>(2, name.size() / 4) + 1;
  std::optional<std::string> found;
  const auto consider = [&](std::string candidate) {
    const std::size_t longer = std::max(name.size(), candidate.size());
    if (longer - std::min(name.size(), candidate.size()) >= nearest) return;
    const std::size_t distance = edit_distance(name, candidate);
    if (distance >= nearest) return;
    nearest = distance;
    found = std::move(candidate);
  };
  for (const ConfigKey& key : config_keys())
    consider(with_part_of(key.name, name));
  for (std::string_view foreign : rabbitmq_only_key_names())
    consider(std::string(foreign));
  return found;
}

}  // namespace harrier
