#pragma once

#include <optional>
#include <string_view>

#include "base/bytes.h"

namespace harrier {

// Borrows the response parsed.
struct SaslCredentials {
  std::string_view user;
  std::string_view password;
};

// NUL user NUL password, with neither an authorization identity in front nor a NUL inside (RabbitMQ
// is that strict; RFC 4616 is not).
std::optional<SaslCredentials> parse_plain(ByteView response);

// A field table without its length prefix with LOGIN and PASSWORD, long strings or binaries.
std::optional<SaslCredentials> parse_amqplain(ByteView response);

}  // namespace harrier
