#include "protocol/delay_headers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace harrier {
namespace {

constexpr std::string_view kDelay = "x-delay";
constexpr std::string_view kDeliveryDelay = "x-opt-delivery-delay";
constexpr std::string_view kDeliveryTime = "x-opt-delivery-time";
constexpr std::string_view kCancelKey = "x-cancel-key";
constexpr std::string_view kCancel = "x-cancel";

constexpr std::int64_t kFarthest = kFarthestDue.time_since_epoch().count();

// Within 0 and the farthest due time, so that no sum of two of them overflows.
std::int64_t bounded(double number) {
  if (!(number > 0)) return 0;
  return number >= static_cast<double>(kFarthest) ? kFarthest : static_cast<std::int64_t>(number);
}

std::optional<std::int64_t> number_in(std::string_view text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end || std::isnan(number)) return std::nullopt;
  return bounded(number);
}

std::optional<std::int64_t> number_in(const ValueView& value) {
  if (const auto integer = as_integer(value)) {
    return std::clamp<std::int64_t>(*integer, 0, kFarthest);
  }
  if (const auto text = as_string(value)) return number_in(*text);
  if (value.type != FieldType::float32 && value.type != FieldType::float64) return std::nullopt;
  return bounded(as_double(value.to_owned()).value_or(0));
}

std::optional<Timestamp> time_in(const ValueView& value) {
  if (const auto seconds = as_timestamp(value)) {
    const auto most = static_cast<std::uint64_t>(kFarthest / 1000);
    return Timestamp(std::chrono::seconds(std::min(*seconds, most)));
  }
  const auto number = number_in(value);
  if (!number) return std::nullopt;
  return Timestamp(Milliseconds(*number));
}

Timestamp after(Timestamp now, Milliseconds delay) {
  return delay >= kFarthestDue - now ? kFarthestDue : now + delay;
}

}  // namespace

bool has_delay_headers(const TableView& headers) {
  for (const FieldView& field : headers) {
    const std::string_view key = field.key;
    if (key.size() < kDelay.size() || key[0] != 'x' || key[1] != '-') continue;
    for (const std::string_view known :
         {kDelay, kDeliveryDelay, kDeliveryTime, kCancelKey, kCancel}) {
      if (key == known) return true;
    }
  }
  return false;
}

DelayHeaders read_delay_headers(const TableView& headers, Timestamp now) {
  DelayHeaders said;
  for (const std::string_view key : {kDelay, kDeliveryDelay}) {
    const auto value = headers.find(key);
    const auto delay = value ? number_in(*value) : std::nullopt;
    if (delay && !said.due) said.due = after(now, Milliseconds(*delay));
  }
  if (const auto time = headers.find(kDeliveryTime); time && !said.due) said.due = time_in(*time);
  if (const auto key = headers.find(kCancelKey)) said.cancel_key = as_string(*key);
  if (const auto key = headers.find(kCancel)) said.cancels = as_string(*key);
  return said;
}

Milliseconds read_exchange_delay(const TableView& headers) {
  const auto value = headers.find(kDelay);
  return Milliseconds(value ? number_in(*value).value_or(0) : 0);
}

}  // namespace harrier
