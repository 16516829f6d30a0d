#include "protocol/utf8.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/unit/protocol/octets.h"

namespace harrier {

TEST_SUITE("utf8") {
  TEST_CASE("well-formed text is accepted at every position of an eight-octet word") {
    for (const char* hex :
         {"", "61", "6162636465666768", "c3a9", "e282ac", "f09f9094", "c280", "dfbf", "e0a080",
          "ed9fbf", "ee8080", "efbfbf", "f0908080", "f48fbfbf", "00"}) {
      for (const char* prefix : {"", "a", "abcdefg", "abcdefgh"}) {
        CAPTURE(hex);
        CAPTURE(prefix);
        CHECK(is_valid_utf8(prefix + from_hex(hex)));
      }
    }
  }

  TEST_CASE("anything else is refused") {
    struct Row {
      const char* name;
      const char* hex;
    };

    for (const Row& row :
         {Row{"continuation alone", "80"}, Row{"overlong of two", "c080"}, Row{"overlong", "c1bf"},
          Row{"overlong of three", "e09fbf"}, Row{"overlong of four", "f08fbfbf"},
          Row{"first surrogate", "eda080"}, Row{"last surrogate", "edbfbf"},
          Row{"beyond U+10FFFF", "f4908080"}, Row{"no such lead", "f5808080"}, Row{"ff", "ff"},
          Row{"cut after one of two", "c3"}, Row{"cut after two of three", "e282"},
          Row{"cut after three of four", "f09f90"}, Row{"ASCII in the middle", "e28261"},
          Row{"ASCII in fourth place", "f09f9061"}}) {
      CAPTURE(row.name);
      CHECK_FALSE(is_valid_utf8(from_hex(row.hex)));
      CHECK_FALSE(is_valid_utf8("abcdefgh" + from_hex(row.hex)));
    }
  }
}

}  // namespace harrier
