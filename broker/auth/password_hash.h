#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace harrier {

// Passwords as RabbitMQ stores them (rabbit_password_hashing_sha256), so that users can be
// imported:
//
//   base64( OFFSET SIZE
//           0      4    salt, random per password
//           4      32   SHA-256 of salt followed by the password )

// A new hash of `password`. Salts come from the operating system. Aborts when that has none to
// give.
std::string hash_password(std::string_view password);

// Whether `password` is the one `hash` was made of. False for the empty password and for a `hash`
// that is none. Takes the same time wherever the two differ.
bool password_matches(std::string_view password, std::string_view hash);

}  // namespace harrier
