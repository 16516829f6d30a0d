#include "protocol/expiration.h"

#include <algorithm>

#include "protocol/erlang_term.h"

namespace harrier {

namespace {

// Enough for every number that is not too large by its length alone.
constexpr std::size_t kDigitsMax = 18;

// Digits as Erlang prints the number: without leading zeros.
std::string_view significant(std::string_view digits) {
  const std::size_t first = digits.find_first_not_of('0');
  return first == std::string_view::npos ? "0" : digits.substr(first);
}

std::string tuple(std::string_view reason, std::string_view value) {
  return std::string("{").append(reason).append(",").append(value).append("}");
}

}  // namespace

Result<std::int64_t, std::string> parse_expiration(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view unsigned_text = negative || text.starts_with('+') ? text.substr(1) : text;
  const std::size_t digit_count =
      std::min(unsigned_text.find_first_not_of("0123456789"), unsigned_text.size());
  if (digit_count == 0) return fail(std::string("no_integer"));
  if (digit_count < unsigned_text.size()) {
    return fail(tuple("leftover_string", erlang_string(unsigned_text.substr(digit_count))));
  }
  // The number may have any length, hence text where Erlang has unbounded integers.
  const std::string_view digits = significant(unsigned_text);
  if (negative && digits != "0") {
    return fail(tuple("value_negative", std::string("-").append(digits)));
  }
  if (digits.size() > kDigitsMax) return fail(tuple("value_too_large", digits));
  std::int64_t milliseconds = 0;
  for (const char digit : digits)
    milliseconds = milliseconds * 10 + (digit - '0');
  if (milliseconds > kExpirationMsMax) return fail(tuple("value_too_large", digits));
  return milliseconds;
}

}  // namespace harrier
