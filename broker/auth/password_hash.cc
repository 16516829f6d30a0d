#include "broker/auth/password_hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>
#include <cstddef>

#include "base/assert.h"

namespace harrier {
namespace {

constexpr std::size_t kSaltBytes = 4;
constexpr std::size_t kHashBytes = kSaltBytes + SHA256_DIGEST_LENGTH;
constexpr std::size_t kEncodedBytes = 4 * ((kHashBytes + 2) / 3);
static_assert(kEncodedBytes == 48 && kHashBytes % 3 == 0, "the encoding has no padding");

using Octets = std::array<unsigned char, kHashBytes>;

Octets salted_hash(std::string_view salt, std::string_view password) {
  std::string input(salt);
  input += password;
  Octets out{};
  unsigned int size = 0;
  for (std::size_t i = 0; i < kSaltBytes; ++i)
    out[i] = static_cast<unsigned char>(salt[i]);
  const int done =
      EVP_Digest(input.data(), input.size(), out.data() + kSaltBytes, &size, EVP_sha256(), nullptr);
  OPENSSL_cleanse(input.data(), input.size());
  HARRIER_CHECK(done == 1 && size == SHA256_DIGEST_LENGTH);
  return out;
}

std::optional<Octets> decoded(std::string_view hash) {
  if (hash.size() != kEncodedBytes) return std::nullopt;
  Octets out{};
  const int size = EVP_DecodeBlock(out.data(), reinterpret_cast<const unsigned char*>(hash.data()),
                                   static_cast<int>(hash.size()));
  if (size != static_cast<int>(kHashBytes)) return std::nullopt;
  return out;
}

std::string_view salt_of(const Octets& hash) {
  return {reinterpret_cast<const char*>(hash.data()), kSaltBytes};
}

}  // namespace

std::string hash_password(std::string_view password) {
  std::array<unsigned char, kSaltBytes> salt{};
  HARRIER_CHECK(RAND_bytes(salt.data(), static_cast<int>(salt.size())) == 1);
  const Octets hash =
      salted_hash({reinterpret_cast<const char*>(salt.data()), salt.size()}, password);
  std::array<unsigned char, kEncodedBytes + 1> text{};
  EVP_EncodeBlock(text.data(), hash.data(), static_cast<int>(hash.size()));
  return {reinterpret_cast<const char*>(text.data()), kEncodedBytes};
}

bool password_matches(std::string_view password, std::string_view hash) {
  const std::optional<Octets> stored = decoded(hash);
  if (!stored || password.empty()) return false;
  const Octets given = salted_hash(salt_of(*stored), password);
  return CRYPTO_memcmp(given.data(), stored->data(), given.size()) == 0;
}

}  // namespace harrier
