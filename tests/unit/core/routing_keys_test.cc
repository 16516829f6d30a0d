#include "broker/core/routing_keys.h"

#include <doctest/doctest.h>

#include "protocol/properties.h"
#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

using Keys = std::vector<std::string_view>;

TEST_SUITE("sender-selected distribution") {
  TEST_CASE("the keys are the published one, those of CC, those of BCC") {
    const Headers headers(table({{"BCC", array({text("b1")})},
                                 {"other", text("x")},
                                 {"CC", array({text("c1"), text(""), text("c3")})}}));
    Keys keys = {"left over"};
    REQUIRE(collect_routing_keys("k", headers.view(), keys));
    CHECK(keys == Keys{"k", "c1", "", "c3", "b1"});
    REQUIRE(collect_routing_keys("", TableView{}, keys));
    CHECK(keys == Keys{""});
  }

  TEST_CASE("elements that are no strings are ignored") {
    const Headers headers(
        table({{"CC", array({number(1), text("c"), Value::binary("d"), array({text("e")})})}}));
    Keys keys;
    REQUIRE(collect_routing_keys("k", headers.view(), keys));
    CHECK(keys == Keys{"k", "c"});
  }

  TEST_CASE("header names are exact") {
    const Headers headers(table({{"cc", text("x")}, {"Bcc", text("y")}}));
    Keys keys;
    REQUIRE(collect_routing_keys("k", headers.view(), keys));
    CHECK(keys == Keys{"k"});
    CHECK_FALSE(has_bcc(headers.view()));
  }

  TEST_CASE("anything but an array is refused in RabbitMQ's words") {
    Keys keys;
    CHECK(verdict(collect_routing_keys("k", Headers(table({{"CC", text("x")}})).view(), keys)) ==
          "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}");
    CHECK(verdict(collect_routing_keys("k", Headers(table({{"BCC", number(1)}})).view(), keys)) ==
          "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"BCC\",signedint}");
  }

  TEST_CASE("BCC is taken off, CC and everything else stays") {
    BasicProperties properties;
    properties.content_type = "text/plain";
    properties.priority = std::uint8_t{3};
    properties.headers = table({{"z", number(1)},
                                {"BCC", array({text("hidden")})},
                                {"CC", array({text("seen")})},
                                {"a", Value::int64(2)}});
    Buffer octets;
    properties.encode(octets);
    REQUIRE(has_bcc(parse_properties(octets.view())->headers.value()));

    const Buffer edited = without_bcc(octets.view());
    properties.headers =
        table({{"CC", array({text("seen")})}, {"a", Value::int64(2)}, {"z", number(1)}});
    Buffer expected;
    properties.encode(expected);
    CHECK(edited.view() == expected.view());
  }
}
