#include "tests/scenario_runner/scenario.h"

#include <doctest/doctest.h>

#include "tests/scenario_runner/value_text.h"

namespace harrier::scenario {

TEST_SUITE_BEGIN("scenario file");

namespace {

Step only_step(std::string_view line) {
  const Scenario scenario = parse_scenario("x", "# Rule.\n" + std::string(line) + "\n");
  REQUIRE(scenario.steps.size() == 1);
  return scenario.steps[0];
}

}  // namespace

TEST_CASE("the opening comment is the rule, header lines follow it") {
  const Scenario scenario =
      parse_scenario("x",
                     "# Rule.\n# Source: spec.\n"
                     "requires: restart\n"
                     "only: harrier, because it isn't in \"RabbitMQ\"\n"
                     "differs: rabbitmq-3.10 does otherwise\n"
                     "\ndeclare q   # comment\n\n# another\npublish \"\" q x\n");
  CHECK(scenario.rule == "Rule.\nSource: spec.\n");
  CHECK(scenario.requirements == std::vector<std::string>{"restart"});
  CHECK(scenario.only == "harrier, because it isn't in \"RabbitMQ\"");
  CHECK(scenario.differs == "rabbitmq-3.10 does otherwise");
  REQUIRE(scenario.steps.size() == 2);
  CHECK(scenario.steps[0].line == 7);
  CHECK(scenario.steps[1].line == 10);
  CHECK(scenario.steps[1].words == std::vector<Word>{"\"\"", "q", "x"});
}

TEST_CASE("indented lines continue a statement, also inside quotes and braces") {
  const Step step =
      only_step("declare q -> channel.close 406\n    \"one\n    two\" a={b=1,\n  c=2}");
  REQUIRE(step.expectation);
  CHECK(*step.expectation ==
        std::vector<Word>{"channel.close", "406", "\"one two\"", "a={b=1,c=2}"});
}

TEST_CASE("a selector names connection and channel") {
  CHECK(only_step("B: declare q").connection == "B");
  CHECK_FALSE(only_step("B: declare q").channel);
  CHECK(only_step("2: declare q").connection == "A");
  CHECK(only_step("2: declare q").channel == 2);
  CHECK(only_step("B/2: declare q").connection == "B");
  CHECK(only_step("B/2: declare q").channel == 2);
  CHECK(only_step("B: await declare q").repeated);
}

TEST_CASE("a hash sign begins a comment only where a word would begin") {
  CHECK(only_step("bind q e a.# # rest").words == std::vector<Word>{"q", "e", "a.#"});
  CHECK(only_step("bind q e \"#\"").words == std::vector<Word>{"q", "e", "\"#\""});
}

TEST_CASE("files that make no sense are refused with the line") {
  struct Row {
    const char* text;
    int line;
  };

  for (const Row& row : {Row{"declare q\n", 1}, Row{"# Rule.\n", 1}, Row{"# R.\n\nB:\n", 3},
                         Row{"# R.\ndeclare q ->\n", 2}, Row{"# R.\npublish \"x\n", 2}}) {
    CAPTURE(row.text);
    int line = 0;
    try {
      parse_scenario("x", row.text);
    } catch (const Failure& failure) {
      line = failure.line();
    }
    CHECK(line == row.line);
  }
}

TEST_CASE("quotes and escapes stand for octets") {
  CHECK(unquote("\"a b\"") == "a b");
  CHECK(unquote("plain\\n") == "plain\\n");
  CHECK(unquote("\"\\0\\x41\\r\\n\\\"\\\\\"") == std::string("\0A\r\n\"\\", 6));
  CHECK(parse_octets({"00ff", "\"ab\""}) == std::string("\0\xff"
                                                        "ab",
                                                        4));
  CHECK_THROWS_AS(parse_octets({"0"}), std::invalid_argument);
  CHECK_THROWS_AS(unquote("\"\\q\""), std::invalid_argument);
}

TEST_CASE("options compare by =, ~ and >=") {
  CHECK(parse_option("a-b=c=d")->name == "a-b");
  CHECK(parse_option("a-b=c=d")->value == "c=d");
  CHECK(parse_option("a~\"x\"")->compare == Option::Compare::regex);
  CHECK(parse_option("a>={b=1}")->compare == Option::Compare::contains);
  CHECK_FALSE(parse_option("\"a=b\""));
  CHECK_FALSE(parse_option("word"));
}

TEST_CASE("a value has the type its text says") {
  struct Row {
    const char* text;
    FieldType type;
  };

  for (const Row& row : {
           Row{"5", FieldType::int32},
           Row{"3000000000", FieldType::int64},
           Row{"int8:-5", FieldType::int8},
           Row{"uint16:5", FieldType::uint16},
           Row{"double:1.5", FieldType::float64},
           Row{"time:5", FieldType::timestamp},
           Row{"true", FieldType::boolean},
           Row{"void", FieldType::nothing},
           Row{"word", FieldType::long_string},
           Row{"\"5\"", FieldType::long_string},
           Row{"bytes:\"\\0\"", FieldType::binary},
           Row{"{a=1,b={c=[1,two]}}", FieldType::table},
           Row{"[]", FieldType::array},
       }) {
    CAPTURE(row.text);
    CHECK(parse_value(row.text).type() == row.type);
    CHECK(parse_value(to_language(parse_value(row.text))) == parse_value(row.text));
  }
  CHECK_THROWS_AS(parse_value("{a=1"), std::invalid_argument);
  CHECK_THROWS_AS(parse_value("int8:x"), std::invalid_argument);
}

TEST_CASE("tables compare exactly, or by the part asked for") {
  const Value table = parse_value("{a=1,b={c=2,d=3}}");
  CHECK(matches(table, {"", Option::Compare::equal, "{a=1,b={c=2,d=3}}"}));
  CHECK_FALSE(matches(table, {"", Option::Compare::equal, "{b={c=2,d=3},a=1}"}));
  CHECK_FALSE(matches(table, {"", Option::Compare::equal, "{a=int64:1,b={c=2,d=3}}"}));
  CHECK(matches(table, {"", Option::Compare::contains, "{b={d=3}}"}));
  CHECK_FALSE(matches(table, {"", Option::Compare::contains, "{b={d=4}}"}));
}

TEST_SUITE_END();

}  // namespace harrier::scenario
