#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"
#include "protocol/field_table.h"

namespace harrier {

// What the headers of a published message say about a delay:
//
//   x-delay               milliseconds from now, as the delayed message exchange of RabbitMQ
//   x-opt-delivery-delay  likewise
//   x-opt-delivery-time   when, milliseconds since 1970; of type timestamp: seconds
//   x-cancel-key          a text under which it may be cancelled until then
//   x-cancel              the message only cancels those of its queue that have this key
//
// A number may be an integer of any width, a float or a text with one. What is none of these says
// nothing. The first of the three that is there counts.
struct DelayHeaders {
  std::optional<Timestamp> due;  // kFarthestDue at most
  std::optional<std::string_view> cancel_key;
  std::optional<std::string_view> cancels;
};

// The end of the year 9999, which stands for anything later.
inline constexpr Timestamp kFarthestDue{Milliseconds(253'402'300'799'999)};

// Whether one of them is there. O(octets of the headers).
bool has_delay_headers(const TableView& headers);

// Borrows the headers.
DelayHeaders read_delay_headers(const TableView& headers, Timestamp now);

// x-delay alone: milliseconds, 0 for what is negative or no number.
Milliseconds read_exchange_delay(const TableView& headers);

}  // namespace harrier
