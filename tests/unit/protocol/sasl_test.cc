#include "protocol/sasl.h"

#include <doctest/doctest.h>

#include "protocol/field_table.h"

namespace harrier {

using namespace std::string_view_literals;

namespace {

std::string amqplain(const FieldTable& table) {
  Buffer out;
  table.encode_fields(out);
  return std::string(out.view());
}

}  // namespace

TEST_SUITE("sasl") {
  TEST_CASE("PLAIN is NUL user NUL password") {
    const auto credentials = parse_plain("\0guest\0secret"sv);
    REQUIRE(credentials);
    CHECK(credentials->user == "guest");
    CHECK(credentials->password == "secret");
  }

  TEST_CASE("PLAIN may leave both empty: that is for authentication to refuse") {
    const auto credentials = parse_plain("\0\0"sv);
    REQUIRE(credentials);
    CHECK(credentials->user.empty());
    CHECK(credentials->password.empty());
  }

  TEST_CASE("PLAIN refuses an authorization identity and stray NULs") {
    for (const ByteView response : {""sv, "\0"sv, "\0user"sv, "authz\0user\0pw"sv, "user\0pw"sv,
                                    "\0user\0p\0w"sv, "\0user\0pw\0"sv}) {
      CAPTURE(response);
      CHECK_FALSE(parse_plain(response));
    }
  }

  TEST_CASE("AMQPLAIN is a table without length") {
    FieldTable table;
    table.set("LOGIN", Value::long_string("guest"));
    table.set("PASSWORD", Value::binary("secret"));
    const std::string response = amqplain(table);
    const auto credentials = parse_amqplain(response);
    REQUIRE(credentials);
    CHECK(credentials->user == "guest");
    CHECK(credentials->password == "secret");
  }

  TEST_CASE("AMQPLAIN refuses missing keys, other types and broken tables") {
    FieldTable table;
    table.set("LOGIN", Value::long_string("guest"));
    CHECK_FALSE(parse_amqplain(amqplain(table)));
    table.set("PASSWORD", Value::int32(1));
    CHECK_FALSE(parse_amqplain(amqplain(table)));
    table.set("PASSWORD", Value::long_string("x"));
    const std::string whole = amqplain(table);
    CHECK(parse_amqplain(whole));
    CHECK_FALSE(parse_amqplain(ByteView(whole).substr(0, whole.size() - 1)));
  }
}

}  // namespace harrier
