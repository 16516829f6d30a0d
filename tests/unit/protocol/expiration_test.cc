#include "protocol/expiration.h"

#include <doctest/doctest.h>

namespace harrier {

TEST_SUITE("expiration") {
  TEST_CASE("digits with an optional sign are milliseconds") {
    struct Row {
      const char* text;
      std::int64_t milliseconds;
    };

    for (const Row& row :
         {Row{"0", 0}, Row{"60000", 60000}, Row{"+5", 5}, Row{"010", 10}, Row{"-0", 0},
          Row{"315360000000", 315'360'000'000}, Row{"00000000000000000000000000007", 7}}) {
      CAPTURE(row.text);
      const auto parsed = parse_expiration(row.text);
      REQUIRE(parsed);
      CHECK(*parsed == row.milliseconds);
    }
  }

  TEST_CASE("all else is refused in RabbitMQ's words") {
    struct Row {
      const char* text;
      const char* reason;
    };

    for (const Row& row : {
             Row{"", "no_integer"},
             Row{"abc", "no_integer"},
             Row{" 10", "no_integer"},
             Row{"+", "no_integer"},
             Row{"--5", "no_integer"},
             Row{"10s", "{leftover_string,\"s\"}"},
             Row{"1.5", "{leftover_string,\".5\"}"},
             Row{"10 ", "{leftover_string,\" \"}"},
             Row{"7\x01", "{leftover_string,[1]}"},
             Row{"-1", "{value_negative,-1}"},
             Row{"-0012", "{value_negative,-12}"},
             Row{"315360000001", "{value_too_large,315360000001}"},
             Row{"99999999999999999999999", "{value_too_large,99999999999999999999999}"},
         }) {
      CAPTURE(row.text);
      const auto parsed = parse_expiration(row.text);
      REQUIRE_FALSE(parsed);
      CHECK(parsed.error() == row.reason);
    }
  }
}

}  // namespace harrier
