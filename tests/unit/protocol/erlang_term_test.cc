#include "protocol/erlang_term.h"

#include <doctest/doctest.h>

namespace harrier {

using namespace std::string_view_literals;

TEST_SUITE("erlang terms") {
  TEST_CASE("a binary is quoted if every octet is printable") {
    struct Row {
      ByteView octets;
      const char* quoted;
      const char* numbers;
    };

    for (const Row& row : {
             Row{"", "<<>>", "<<>>"},
             Row{"abc", "<<\"abc\">>", "<<97,98,99>>"},
             Row{"\0\x14\0"sv, "<<0,20,0>>", "<<0,20,0>>"},
             Row{"a\0"sv, "<<97,0>>", "<<97,0>>"},
             Row{"say \"\\\"", "<<\"say \\\"\\\\\\\"\">>", "<<115,97,121,32,34,92,34>>"},
             Row{"\n\r\t\v\b\f\x1b", "<<\"\\n\\r\\t\\v\\b\\f\\e\">>", "<<10,13,9,11,8,12,27>>"},
             Row{"\x7f", "<<127>>", "<<127>>"},
             Row{"\xc3\xa9", "<<195,169>>", "<<195,169>>"},
         }) {
      CAPTURE(row.quoted);
      CHECK(erlang_binary(row.octets) == row.quoted);
      CHECK(erlang_binary_octets(row.octets) == row.numbers);
    }
  }

  TEST_CASE("a string is a list of numbers unless every octet is printable") {
    CHECK(erlang_string("") == "[]");
    CHECK(erlang_string("s") == "\"s\"");
    CHECK(erlang_string("\x01\x02") == "[1,2]");
  }
}

}  // namespace harrier
