#include "broker/core/resource_names.h"

#include <algorithm>
#include <cstddef>
#include <span>

namespace harrier {
namespace {

std::string resource_text(std::string_view kind, std::string_view name, std::string_view vhost) {
  std::string text;
  text.reserve(kind.size() + name.size() + vhost.size() + 16);
  text.append(kind).append(" '").append(name).append("' in vhost '").append(vhost).append("'");
  return text;
}

bool is_cr_or_lf(char c) {
  return c == '\r' || c == '\n';
}

// base64url without padding.
void append_base64url(std::span<const std::uint8_t> octets, std::string& out) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::uint32_t bits = 0;
  unsigned bit_count = 0;
  for (const std::uint8_t octet : octets) {
    bits = (bits << 8U) | octet;
    bit_count += 8;
    while (bit_count >= 6) {
      bit_count -= 6;
      out.push_back(kAlphabet[(bits >> bit_count) & 0x3FU]);
    }
  }
  if (bit_count > 0) out.push_back(kAlphabet[(bits << (6U - bit_count)) & 0x3FU]);
}

std::string server_named(std::string_view prefix, const NameRandom& random) {
  std::string name(prefix);
  append_base64url(random, name);
  return name;
}

}  // namespace

std::string queue_text(std::string_view queue, std::string_view vhost) {
  return resource_text("queue", queue, vhost);
}

std::string exchange_text(std::string_view exchange, std::string_view vhost) {
  return resource_text("exchange", exchange, vhost);
}

bool has_cr_lf(std::string_view name) {
  return std::any_of(name.begin(), name.end(), is_cr_or_lf);
}

std::string strip_cr_lf(std::string_view name) {
  std::string stripped(name);
  std::erase_if(stripped, is_cr_or_lf);
  return stripped;
}

bool is_reserved(std::string_view name) {
  return name.starts_with("amq.");
}

bool is_reply_to_queue(std::string_view name) {
  return name.size() > kReplyToName.size() && name.starts_with(kReplyToName) &&
         name[kReplyToName.size()] == '.';
}

bool is_reply_to(std::string_view name) {
  return name == kReplyToName || is_reply_to_queue(name);
}

std::string server_named_queue(const NameRandom& random) {
  return server_named("amq.gen-", random);
}

std::string server_named_consumer_tag(const NameRandom& random) {
  return server_named("amq.ctag-", random);
}

}  // namespace harrier
