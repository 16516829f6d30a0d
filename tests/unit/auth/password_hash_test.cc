#include "broker/auth/password_hash.h"

#include <string>

#include <doctest/doctest.h>

using namespace harrier;

TEST_SUITE("password hash") {
  TEST_CASE("a password matches its own hash and no other password does") {
    const std::string hash = hash_password("secret");
    CHECK(password_matches("secret", hash));
    CHECK_FALSE(password_matches("Secret", hash));
    CHECK_FALSE(password_matches("secret ", hash));
    CHECK_FALSE(password_matches(std::string_view("secret\0", 7), hash));
  }

  TEST_CASE("the same password is salted differently each time") {
    CHECK(hash_password("secret") != hash_password("secret"));
  }

  TEST_CASE("a hash that RabbitMQ documents is understood") {
    // From the section on password hashing of RabbitMQ's documentation: salt 908dc60a, "test12".
    CHECK(password_matches("test12", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"));
    CHECK_FALSE(password_matches("test13", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"));
  }

  TEST_CASE("the empty password never matches") {
    CHECK_FALSE(password_matches("", hash_password("")));
  }

  TEST_CASE("what is no hash matches nothing") {
    const std::string hash = hash_password("secret");
    for (const std::string& broken :
         {std::string(), std::string("secret"), hash.substr(1), hash + "A", std::string(48, '!')}) {
      CAPTURE(broken);
      CHECK_FALSE(password_matches("secret", broken));
    }
  }
}
