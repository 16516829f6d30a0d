#include "protocol/field_table.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/unit/protocol/octets.h"

namespace harrier {

namespace {

// The octets of a table with one field of empty name.
std::string lone(std::string_view hex) {
  return from_hex("00 " + std::string(hex));
}

std::string encoded(const FieldTable& table) {
  Buffer out;
  table.encode_fields(out);
  return std::string(out.view());
}

// Tables nested `levels` deep, the outermost included.
std::string nested(std::size_t levels) {
  std::string octets;
  for (std::size_t level = 1; level < levels; ++level) {
    char length[4];
    store_big_endian(static_cast<std::uint32_t>(octets.size()), length);
    octets.insert(0, length, sizeof length).insert(0, "\0F", 2);
  }
  return octets;
}

}  // namespace

TEST_SUITE("field tables") {
  TEST_CASE("every type is read, and written back with its own letter") {
    struct Row {
      const char* hex;  // type and content
      const char* type;
      const char* text;
    };

    for (const Row& row : {
             Row{"7400", "bool", "false"},
             Row{"7401", "bool", "true"},
             Row{"62ff", "byte", "-1"},
             Row{"42ff", "unsignedbyte", "255"},
             Row{"73fffe", "short", "-2"},
             Row{"75fffe", "unsignedshort", "65534"},
             Row{"49fffffffd", "signedint", "-3"},
             Row{"69fffffffd", "unsignedint", "4294967293"},
             Row{"6cfffffffffffffffc", "long", "-4"},
             Row{"4cfffffffffffffffc", "long", "-4"},
             Row{"663f800000", "float", "1"},
             Row{"643fb999999999999a", "double", "0.1"},
             Row{"44020000013a", "decimal", "314e-2"},
             Row{"5300000002c3a9", "longstr", "\xc3\xa9"},
             Row{"5300000001ff", "longstr", "\xff"},
             Row{"54ffffffffffffffff", "timestamp", "18446744073709551615"},
             Row{"4600000005 016149 ", nullptr, nullptr},
             Row{"4600000007 01614900000005", "table", "{a=5}"},
             Row{"4600000000", "table", "{}"},
             Row{"4100000003 740156", "array", "[true, undefined]"},
             Row{"4100000000", "array", "[]"},
             Row{"7800000003 616263", "binary", "abc"},
             Row{"56", "void", "undefined"},
         }) {
      CAPTURE(row.hex);
      const std::string octets = lone(row.hex);
      const auto table = FieldTable::decode(octets);
      CHECK(TableView{octets}.well_formed() == table.has_value());
      if (row.type == nullptr) {
        CHECK_FALSE(table);
        continue;
      }
      REQUIRE(table);
      REQUIRE(table->size() == 1);
      const Value& value = table->begin()->value;
      CHECK(type_name(value) == row.type);
      CHECK(to_text(value) == row.text);
      CHECK(to_hex(encoded(*table)) == to_hex(octets));
      const auto view = TableView{octets}.find("");
      REQUIRE(view);
      CHECK(view->to_owned() == value);
      CHECK(as_integer(*view) == as_integer(value));
      CHECK(as_bool(*view) == as_bool(value));
      CHECK(as_timestamp(*view) == as_timestamp(value));
      CHECK(as_string(*view).has_value() == (as_string(value) != nullptr));
      CHECK(as_table(*view).has_value() == (as_table(value) != nullptr));
      CHECK(as_array(*view).has_value() == (as_array(value) != nullptr));
    }
  }

  TEST_CASE("any octet but zero is true") {
    const auto table = FieldTable::decode(lone("7402"));
    REQUIRE(table);
    CHECK(as_bool(table->begin()->value) == true);
  }

  TEST_CASE("a table is malformed if anything in it is") {
    struct Row {
      const char* name;
      const char* hex;
    };

    for (const Row& row : {
             Row{"type missing", "00"},
             Row{"key cut", "0561"},
             Row{"unknown type U", "00 55 01"},
             Row{"unknown type NUL", "00 00"},
             Row{"bool cut", "00 74"},
             Row{"short cut", "00 73 01"},
             Row{"int cut", "00 49 010203"},
             Row{"long cut", "00 6c 01020304050607"},
             Row{"float cut", "00 66 3f80"},
             Row{"double cut", "00 64 3f80"},
             Row{"decimal cut", "00 44 01020304"},
             Row{"string length cut", "00 53 000000"},
             Row{"string cut", "00 53 00000002 61"},
             Row{"string of four gigabytes", "00 53 ffffffff 61"},
             Row{"float NaN", "00 66 7fc00000"},
             Row{"float infinity", "00 66 7f800000"},
             Row{"float minus infinity", "00 66 ff800000"},
             Row{"double NaN", "00 64 7ff8000000000000"},
             Row{"double infinity", "00 64 7ff0000000000000"},
             Row{"nested table beyond the end", "00 46 00000001"},
             Row{"nested table malformed", "00 46 00000002 0055"},
             Row{"nested array malformed", "00 41 00000001 55"},
             Row{"nested value reaches out of its table", "00 46 00000003 007301 00 56"},
             Row{"second field malformed", "00 56 00 55"},
             Row{"trailing octet", "00 56 00"},
         }) {
      CAPTURE(row.name);
      const std::string octets = from_hex(row.hex);
      CHECK_FALSE(TableView{octets}.well_formed());
      CHECK_FALSE(FieldTable::decode(octets));
      // Looking at such a table all the same ends early and reads nothing out of bounds.
      CHECK(TableView{octets}.to_owned().size() <= 2);
    }
  }

  TEST_CASE("an array alone can be checked as well") {
    CHECK(ArrayView{}.well_formed());
    CHECK(ArrayView{from_hex("7401")}.well_formed());
    CHECK_FALSE(ArrayView{from_hex("74")}.well_formed());
  }

  TEST_CASE("order and duplicates are kept") {
    const std::string octets = from_hex("0162 7401 0161 56 0162 7400");
    const auto table = FieldTable::decode(octets);
    REQUIRE(table);
    CHECK(to_text(*table) == "{b=true, a=undefined, b=false}");
    CHECK(encoded(*table) == octets);
    CHECK(as_bool(*TableView{octets}.find("b")) == true);
    CHECK_FALSE(TableView{octets}.find("c"));
  }

  TEST_CASE("a key may be empty, 255 octets long, and no UTF-8") {
    const std::string key(255, '\xff');
    const std::string octets = "\xff" + key + "V" + std::string("\0V", 2);
    const auto table = FieldTable::decode(octets);
    REQUIRE(table);
    CHECK(table->size() == 2);
    CHECK(table->find(key) != nullptr);
    CHECK(table->find("") != nullptr);
    CHECK(encoded(*table) == octets);
  }

  TEST_CASE("the length prefix of a table counts its fields") {
    FieldTable table;
    table.set("n", Value::int64(-1));
    Buffer out;
    table.encode(out);
    CHECK(to_hex(out.view()) ==
          "0000000b"
          "016e"
          "6c"
          "ffffffffffffffff");
    Buffer empty;
    FieldTable().encode(empty);
    CHECK(to_hex(empty.view()) == "00000000");
  }

  TEST_CASE("views iterate without owning") {
    const std::string octets = from_hex("0161 41 00000004 7400 7401 0162 56");
    std::string keys;
    int elements = 0;
    for (const FieldView& field : TableView{octets}) {
      keys += field.key;
      if (const auto array = as_array(field.value)) {
        for (const ValueView& element : *array)
          elements += as_bool(element).has_value() ? 1 : 0;
      }
    }
    CHECK(keys == "ab");
    CHECK(elements == 2);
  }

  TEST_CASE("nesting is accepted down to its limit and refused below") {
    CHECK(FieldTable::decode(nested(1)));
    const std::string deepest = nested(kTableDepthMax);
    const auto table = FieldTable::decode(deepest);
    REQUIRE(table);
    CHECK(encoded(*table) == deepest);
    CHECK_FALSE(FieldTable::decode(nested(kTableDepthMax + 1)));
    const std::string hostile = nested(20000);
    CHECK_FALSE(FieldTable::decode(hostile));
    CHECK(TableView{hostile}.to_owned().size() == 1);
  }
}

}  // namespace harrier
