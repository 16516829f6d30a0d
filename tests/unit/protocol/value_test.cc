#include "protocol/value.h"

#include <doctest/doctest.h>

namespace harrier {

namespace {

Value uint8(std::int64_t value) {
  return Value::integer(FieldType::uint8, value);
}

}  // namespace

TEST_SUITE("values") {
  TEST_CASE("type names are RabbitMQ's") {
    struct Row {
      char tag;
      const char* name;
    };

    for (const Row& row :
         {Row{'t', "bool"}, Row{'b', "byte"}, Row{'B', "unsignedbyte"}, Row{'s', "short"},
          Row{'u', "unsignedshort"}, Row{'I', "signedint"}, Row{'i', "unsignedint"},
          Row{'l', "long"}, Row{'L', "long"}, Row{'f', "float"}, Row{'d', "double"},
          Row{'D', "decimal"}, Row{'S', "longstr"}, Row{'T', "timestamp"}, Row{'F', "table"},
          Row{'A', "array"}, Row{'x', "binary"}, Row{'V', "void"}}) {
      CAPTURE(row.tag);
      CHECK(type_name(static_cast<FieldType>(row.tag)) == row.name);
    }
    CHECK(type_name(Value::int32(1)) == "signedint");
  }

  TEST_CASE("a value is what it was made of and nothing else") {
    CHECK(as_integer(Value::int32(-5)) == -5);
    CHECK(as_integer(uint8(200)) == 200);
    CHECK_FALSE(as_integer(Value::timestamp(5)));
    CHECK_FALSE(as_integer(Value::boolean(true)));
    CHECK_FALSE(as_integer(Value::float64(5)));
    CHECK(as_bool(Value::boolean(true)) == true);
    CHECK_FALSE(as_bool(Value::int32(1)));
    CHECK(*as_string(Value::long_string("x")) == "x");
    CHECK(as_string(Value::binary("x")) == nullptr);
    CHECK(as_timestamp(Value::timestamp(7)) == 7);
    CHECK(as_double(Value::float32(0.5F)) == 0.5);
    CHECK(as_table(Value::table({}))->empty());
    CHECK(as_array(Value::array({}))->values.empty());
    CHECK(as_table(Value()) == nullptr);
  }

  TEST_CASE("equality asks for equal types, save for the two letters of long") {
    CHECK(Value::int32(5) == Value::int32(5));
    CHECK_FALSE(Value::int32(5) == Value::int64(5));
    CHECK(Value::int64(5) == Value::integer(FieldType::int64_alias, 5));
    CHECK_FALSE(Value::long_string("a") == Value::binary("a"));
    CHECK_FALSE(Value::float32(1) == Value::float64(1));
    CHECK(Value::nothing() == Value());
  }

  TEST_CASE("equality by value ignores the width of numbers") {
    CHECK(equal_by_value(Value::int32(5), Value::int64(5)));
    CHECK(equal_by_value(uint8(5), Value::int64(5)));
    CHECK(equal_by_value(Value::int32(5), Value::timestamp(5)));
    CHECK(equal_by_value(Value::float32(1), Value::float64(1)));
    CHECK_FALSE(equal_by_value(Value::int32(5), Value::int32(6)));
    CHECK_FALSE(equal_by_value(Value::int32(5), Value::float64(5)));
    CHECK_FALSE(equal_by_value(Value::int32(5), Value::long_string("5")));
    CHECK_FALSE(equal_by_value(Value::int64(-1), Value::timestamp(UINT64_MAX)));
    CHECK(equal_by_value(Value::timestamp(UINT64_MAX), Value::timestamp(UINT64_MAX)));
    CHECK(equal_by_value(Value::long_string("a"), Value::long_string("a")));
  }

  TEST_CASE("text is for people") {
    FieldTable table;
    table.set("n", Value::int32(-1));
    table.set("list", Value::array({{Value::boolean(true), Value::long_string("x"), Value()}}));
    CHECK(to_text(Value::table(table)) == "{n=-1, list=[true, x, undefined]}");
    CHECK(to_text(Value::float64(0.1)) == "0.1");
    CHECK(to_text(Value::decimal({2, 314})) == "314e-2");
    CHECK(to_text(Value::timestamp(UINT64_MAX)) == "18446744073709551615");
  }
}

TEST_SUITE("owned field tables") {
  TEST_CASE("set replaces the first of its name, append adds another") {
    FieldTable table;
    table.set("a", Value::int32(1));
    table.set("b", Value::int32(2));
    table.append("a", Value::int32(3));
    table.set("a", Value::int32(4));
    CHECK(to_text(table) == "{a=4, b=2, a=3}");
    CHECK(as_integer(*table.find("a")) == 4);
    CHECK(table.find("c") == nullptr);
    CHECK(table.size() == 3);
  }

  TEST_CASE("erase removes all of a name") {
    FieldTable table;
    table.append("a", Value::int32(1));
    table.append("b", Value::int32(2));
    table.append("a", Value::int32(3));
    CHECK(table.erase("a"));
    CHECK_FALSE(table.erase("a"));
    CHECK(to_text(table) == "{b=2}");
  }

  TEST_CASE("sorting is by octets and keeps duplicates in order") {
    FieldTable table;
    table.append("\xc3\xa9", Value::int32(1));
    table.append("b", Value::int32(2));
    table.append("a", Value::int32(3));
    table.append("b", Value::int32(1));
    table.append("", Value::int32(0));
    table.sort_by_key();
    CHECK(to_text(table) == "{=0, a=3, b=2, b=1, \xc3\xa9=1}");
  }

  TEST_CASE("tables are equal in the same order only") {
    FieldTable a;
    a.append("x", Value::int32(1));
    a.append("y", Value::int32(2));
    FieldTable b;
    b.append("y", Value::int32(2));
    b.append("x", Value::int32(1));
    CHECK_FALSE(a == b);
    b.sort_by_key();
    CHECK(a == b);
  }
}

}  // namespace harrier
