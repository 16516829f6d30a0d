#include "protocol/delay_headers.h"

#include <cmath>
#include <limits>
#include <string>

#include <doctest/doctest.h>

#include "protocol/value.h"

using namespace harrier;

namespace {

constexpr Timestamp kNow{Milliseconds(5000)};

// The headers of a message, as octets.
struct Headers {
  Headers(std::string_view key, Value value) {
    table.append("CC", Value::array({}));
    table.append(key, std::move(value));
    table.encode_fields(octets);
  }

  TableView view() const { return TableView{octets.view()}; }

  std::optional<Timestamp> due() const { return read_delay_headers(view(), kNow).due; }

  FieldTable table;
  Buffer octets;
};

Timestamp at(std::int64_t ms) {
  return Timestamp(Milliseconds(ms));
}

}  // namespace

TEST_SUITE("delay headers") {
  TEST_CASE("a delay is a number of any kind") {
    for (const Value& value :
         {Value::integer(FieldType::int8, 7), Value::integer(FieldType::uint8, 7),
          Value::integer(FieldType::int16, 7), Value::integer(FieldType::uint16, 7),
          Value::int32(7), Value::integer(FieldType::uint32, 7), Value::int64(7),
          Value::float32(7.25), Value::float64(7.9), Value::long_string("7"),
          Value::long_string("7.5")}) {
      CAPTURE(type_name(value.type()));
      CHECK(Headers("x-delay", value).due() == at(5007));
      CHECK(Headers("x-opt-delivery-delay", value).due() == at(5007));
      CHECK(Headers("x-opt-delivery-time", value).due() == at(7));
    }
  }

  TEST_CASE("what is no number says nothing") {
    for (const Value& value :
         {Value::nothing(), Value::boolean(true), Value::long_string(""),
          Value::long_string("soon"), Value::long_string("7ms"), Value::long_string("nan"),
          Value::table({}), Value::array({}), Value::binary("7"), Value::decimal({0, 7})}) {
      CAPTURE(type_name(value.type()));
      CHECK_FALSE(Headers("x-delay", value).due());
      CHECK_FALSE(Headers("x-opt-delivery-time", value).due());
    }
  }

  TEST_CASE("what is negative is due now") {
    for (const Value& value : {Value::int64(INT64_MIN), Value::int32(-1), Value::float64(-1e300),
                               Value::long_string("-7")}) {
      CHECK(Headers("x-delay", value).due() == kNow);
      CHECK(Headers("x-opt-delivery-time", value).due() == at(0));
    }
  }

  TEST_CASE("what is too far away is due at the end of the times") {
    for (const Value& value :
         {Value::int64(INT64_MAX), Value::float64(1e300),
          Value::long_string("99999999999999999999"), Value::long_string("inf")}) {
      CHECK(Headers("x-delay", value).due() == kFarthestDue);
      CHECK(Headers("x-opt-delivery-time", value).due() == kFarthestDue);
    }
    CHECK(Headers("x-opt-delivery-time", Value::timestamp(UINT64_MAX)).due() ==
          Timestamp(std::chrono::floor<std::chrono::seconds>(kFarthestDue)));
  }

  TEST_CASE("a timestamp is in seconds, and no delay") {
    CHECK(Headers("x-opt-delivery-time", Value::timestamp(9)).due() == at(9000));
    CHECK_FALSE(Headers("x-delay", Value::timestamp(9)).due());
  }

  TEST_CASE("the first that says something counts") {
    FieldTable table;
    table.append("x-opt-delivery-time", Value::int64(1));
    table.append("x-opt-delivery-delay", Value::int64(2));
    table.append("x-delay", Value::long_string("soon"));
    Buffer octets;
    table.encode_fields(octets);
    CHECK(read_delay_headers(TableView{octets.view()}, kNow).due == at(5002));
  }

  TEST_CASE("keys are texts") {
    const Headers keyed("x-cancel-key", Value::long_string("a"));
    CHECK(read_delay_headers(keyed.view(), kNow).cancel_key == "a");
    CHECK_FALSE(read_delay_headers(keyed.view(), kNow).cancels);
    const Headers cancel("x-cancel", Value::long_string("a"));
    CHECK(read_delay_headers(cancel.view(), kNow).cancels == "a");
    const Headers number("x-cancel", Value::int32(1));
    CHECK_FALSE(read_delay_headers(number.view(), kNow).cancels);
  }

  TEST_CASE("other headers are none of these") {
    CHECK_FALSE(has_delay_headers(TableView{}));
    for (const char* key : {"x-death", "x-delays", "x-dela", "delay", "y-delay", "x-cancelled"})
      CHECK_FALSE(has_delay_headers(Headers(key, Value::int32(1)).view()));
    for (const char* key :
         {"x-delay", "x-opt-delivery-delay", "x-opt-delivery-time", "x-cancel", "x-cancel-key"})
      CHECK(has_delay_headers(Headers(key, Value::int32(1)).view()));
  }
}
