#include "broker/core/exchange_types.h"

#include <iterator>
#include <map>
#include <random>

#include <doctest/doctest.h>

#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// One exchange of a type, and queues bound to it.
struct OneExchange : Broker {
  explicit OneExchange(std::string_view type) { declare(an_exchange("x", type)); }

  std::string bind_queue(std::string_view name, std::string_view key, FieldTable arguments = {}) {
    declare(a_queue(name));
    return bind(to_queue("x", name, key, std::move(arguments)));
  }
};

// Whether a binding with these arguments lets a message with these headers through.
bool headers_match(const FieldTable& arguments, const FieldTable& headers) {
  OneExchange broker("headers");
  REQUIRE(broker.bind_queue("q", "", arguments) == "ok");
  const bool matched = !broker.route("x", "", headers).empty();
  // Leaves nothing behind, whatever it was filed under.
  broker.unbind(to_queue("x", "q", "", arguments));
  CHECK(broker.route("x", "", headers).empty());
  return matched;
}

// The definition of a match, criterion by criterion. Values are equal only if written the same.
bool naive_headers_match(const FieldTable& arguments, const FieldTable& headers) {
  const Value* match = arguments.find("x-match");
  const std::string form = match == nullptr ? "all" : *as_string(*match);
  std::size_t criteria = 0;
  std::size_t met = 0;
  for (const Field& criterion : arguments) {
    if (criterion.key == "x-match") continue;
    if (criterion.key.starts_with("x-") && !form.ends_with("-with-x")) continue;
    ++criteria;
    const Value* header = headers.find(criterion.key);
    if (header == nullptr) continue;
    const bool any_value = criterion.value.type() == FieldType::nothing;
    if (any_value || (header->type() != FieldType::nothing && *header == criterion.value)) ++met;
  }
  return form.starts_with("any") ? met > 0 : met == criteria;
}

FieldTable random_fields(std::mt19937& random) {
  const Value values[] = {number(1), number(2), text("one"), Value::boolean(true),
                          Value::nothing()};
  FieldTable fields;
  for (const char* key : {"a", "b", "x-c"}) {
    if (random() % 2 == 0) fields.append(key, values[random() % std::size(values)]);
  }
  return fields;
}

}  // namespace

TEST_SUITE("exchange types") {
  TEST_CASE("random header bindings match as the naive definition says, coming and going") {
    std::mt19937 random(random_seed());
    OneExchange broker("headers");
    broker.declare(a_queue("q"));
    std::map<std::string, FieldTable> present;
    for (int round = 0; round < 5000; ++round) {
      CAPTURE(round);
      FieldTable arguments = random_fields(random);
      const char* forms[] = {"", "all", "any", "all-with-x", "any-with-x"};
      const std::string form = forms[random() % std::size(forms)];
      if (!form.empty()) arguments.set("x-match", text(form));
      // The queue's name tells which binding let the message through.
      const std::string name = to_text(arguments);
      if (present.erase(name) > 0) {
        broker.unbind(to_queue("x", name, "", arguments));
      } else {
        broker.bind_queue(name, "", arguments);
        present[name] = arguments;
      }
      const FieldTable headers = random_fields(random);
      Names expected;
      for (const auto& [queue_name, bound] : present) {
        if (naive_headers_match(bound, headers)) expected.push_back(queue_name);
      }
      REQUIRE(broker.route("x", "", headers) == expected);
    }
  }

  TEST_CASE("the table knows the four types of the specification") {
    for (const std::string name : {"direct", "fanout", "headers", "topic"}) {
      CAPTURE(name);
      REQUIRE(find_exchange_type(name) != nullptr);
      CHECK(find_exchange_type(name)->name == name);
    }
    CHECK(find_exchange_type("") == nullptr);
    CHECK(find_exchange_type("x-foo") == nullptr);
    CHECK(find_exchange_type("Direct") == nullptr);
  }

  TEST_CASE("direct compares keys octet by octet, the empty key included") {
    OneExchange broker("direct");
    broker.bind_queue("a", "k");
    broker.bind_queue("b", "k");
    broker.bind_queue("c", "");
    broker.bind_queue("d", std::string("k\0", 2));
    CHECK(broker.route("x", "k") == Names{"a", "b"});
    CHECK(broker.route("x", "") == Names{"c"});
    CHECK(broker.route("x", std::string_view("k\0", 2)) == Names{"d"});
    CHECK(broker.route("x", "K") == Names{});
    CHECK(broker.route("x", "kk") == Names{});
  }

  TEST_CASE("direct serves every key of the message, one copy per queue") {
    OneExchange broker("direct");
    broker.bind_queue("a", "k1");
    broker.bind_queue("a", "k2");
    broker.bind_queue("b", "k2");
    CHECK(broker.route_keys("x", {"k1", "k2", "k2"}) == Names{"a", "b"});
  }

  TEST_CASE("fanout ignores keys and arguments") {
    OneExchange broker("fanout");
    broker.bind_queue("a", "k");
    broker.bind_queue("a", "other");
    broker.bind_queue("b", "", table({{"x-match", text("nonsense")}}));
    CHECK(broker.route("x", "whatever") == Names{"a", "b"});
    broker.unbind(to_queue("x", "a", "k"));
    CHECK(broker.route("x", "whatever") == Names{"a", "b"});
    broker.unbind(to_queue("x", "a", "other"));
    CHECK(broker.route("x", "whatever") == Names{"b"});
  }

  TEST_CASE("a type keeps its destinations apart also when they are many") {
    for (const std::string type : {"direct", "fanout", "topic", "headers"}) {
      CAPTURE(type);
      OneExchange broker(type);
      Names expected;
      for (int i = 100; i < 200; ++i) {
        const std::string name = "q" + std::to_string(i);
        broker.bind_queue(name, "k");
        if ((i - 100) % 3 != 0) expected.push_back(name);
      }
      for (int i = 100; i < 200; i += 3) {
        broker.unbind(to_queue("x", "q" + std::to_string(i), "k"));
      }
      CHECK(broker.route("x", "k") == expected);
    }
  }

  TEST_CASE("topic matches patterns against every key") {
    OneExchange broker("topic");
    broker.bind_queue("a", "a.#");
    broker.bind_queue("b", "*.b");
    broker.bind_queue("c", "#");
    CHECK(broker.route("x", "a.b") == Names{"a", "b", "c"});
    CHECK(broker.route("x", "") == Names{"c"});
    CHECK(broker.route_keys("x", {"z", "x.b"}) == Names{"b", "c"});
    broker.unbind(to_queue("x", "c", "#"));
    CHECK(broker.route("x", "z") == Names{});
  }

  TEST_CASE("x-match decides how criteria combine") {
    const Value yes = text("1");
    const FieldTable both = table({{"a", yes}, {"b", yes}});

    struct Row {
      const char* match;
      bool none, one, all;
    };

    for (const Row& row :
         {Row{"all", false, false, true}, Row{"any", false, true, true},
          Row{"all-with-x", false, false, true}, Row{"any-with-x", false, true, true}}) {
      CAPTURE(std::string(row.match));
      FieldTable arguments = both;
      arguments.set("x-match", text(row.match));
      CHECK(headers_match(arguments, {}) == row.none);
      CHECK(headers_match(arguments, table({{"b", yes}})) == row.one);
      CHECK(headers_match(arguments, both) == row.all);
      CHECK(headers_match(arguments, table({{"c", yes}, {"b", yes}, {"a", yes}})) == row.all);
    }
    CHECK(headers_match(both, both));  // all is the default
    CHECK_FALSE(headers_match(both, table({{"a", yes}})));
  }

  TEST_CASE("without criteria all matches everything and any nothing") {
    const FieldTable some = table({{"a", number(1)}});
    for (const std::string match : {"all", "all-with-x"}) {
      CHECK(headers_match(table({{"x-match", text(match)}}), {}));
      CHECK(headers_match(table({{"x-match", text(match)}}), some));
    }
    for (const std::string match : {"any", "any-with-x"}) {
      CHECK_FALSE(headers_match(table({{"x-match", text(match)}}), {}));
      CHECK_FALSE(headers_match(table({{"x-match", text(match)}}), some));
    }
    CHECK(headers_match({}, some));
  }

  TEST_CASE("criteria that start with x- count only in the with-x forms") {
    const auto arguments = [](const char* match) {
      return table({{"x-match", text(match)}, {"x-a", number(1)}, {"b", number(2)}});
    };
    const FieldTable only_x = table({{"x-a", number(1)}});
    const FieldTable only_b = table({{"b", number(2)}});
    CHECK(headers_match(arguments("all"), only_b));
    CHECK_FALSE(headers_match(arguments("all-with-x"), only_b));
    CHECK_FALSE(headers_match(arguments("any"), only_x));
    CHECK(headers_match(arguments("any-with-x"), only_x));
    // x-match itself is never a criterion.
    CHECK_FALSE(headers_match(table({{"x-match", text("any-with-x")}}),
                              table({{"x-match", text("any-with-x")}})));
  }

  TEST_CASE("values are equal by meaning, not by width") {
    struct Row {
      std::string rule;
      Value criterion;
      Value header;
      bool equal;
    };

    const auto integer = [](FieldType type, std::int64_t value) {
      return Value::integer(type, value);
    };
    const FieldTable nested = table({{"k", number(1)}});
    for (const Row& row : {
             Row{"text", text("x"), text("x"), true},
             Row{"other text", text("x"), text("y"), false},
             Row{"text is case-sensitive", text("x"), text("X"), false},
             Row{"text and binary", text("x"), Value::binary("x"), true},
             Row{"int32 and int64", number(1), Value::int64(1), true},
             Row{"int32 and int8", number(1), integer(FieldType::int8, 1), true},
             Row{"int32 and uint8", number(1), integer(FieldType::uint8, 1), true},
             Row{"int64 and its alias", Value::int64(1), integer(FieldType::int64_alias, 1), true},
             Row{"negative", number(-1), integer(FieldType::int16, -1), true},
             Row{"other integer", number(1), number(2), false},
             Row{"timestamp and integer", Value::timestamp(5), number(5), true},
             Row{"timestamps", Value::timestamp(5), Value::timestamp(5), true},
             Row{"huge timestamp", Value::timestamp(UINT64_MAX), Value::int64(-1), false},
             Row{"huge timestamps", Value::timestamp(UINT64_MAX), Value::timestamp(UINT64_MAX),
                 true},
             Row{"integer and float", number(1), Value::float64(1.0), false},
             Row{"float and double", Value::float32(1.5F), Value::float64(1.5), true},
             Row{"zeros", Value::float64(0.0), Value::float64(-0.0), true},
             Row{"text and integer", text("1"), number(1), false},
             Row{"boolean and integer", Value::boolean(true), number(1), false},
             Row{"booleans", Value::boolean(true), Value::boolean(true), true},
             Row{"other boolean", Value::boolean(true), Value::boolean(false), false},
             Row{"decimals", Value::decimal({2, 314}), Value::decimal({2, 314}), true},
             Row{"other decimal", Value::decimal({2, 314}), Value::decimal({1, 314}), false},
             Row{"arrays", array({number(1), number(2)}), array({number(1), number(2)}), true},
             Row{"arrays with other element types", array({number(1)}), array({Value::int64(1)}),
                 false},
             Row{"tables", Value::table(nested), Value::table(nested), true},
             Row{"void criterion, any value", Value::nothing(), text("x"), true},
             Row{"void criterion, void header", Value::nothing(), Value::nothing(), true},
             Row{"void header", text("x"), Value::nothing(), false},
             Row{"void header, empty text", text(""), Value::nothing(), false},
         }) {
      for (const std::string match : {"all", "any"}) {
        CAPTURE(row.rule);
        CAPTURE(match);
        const FieldTable arguments = table({{"x-match", text(match)}, {"h", row.criterion}});
        CHECK(headers_match(arguments, table({{"h", row.header}})) == row.equal);
        CHECK(headers_match(arguments, table({{"other", text("")}, {"h", row.header}})) ==
              row.equal);
        CHECK_FALSE(headers_match(arguments, table({{"H", row.header}})));
        CHECK_FALSE(headers_match(arguments, {}));
      }
    }
  }

  TEST_CASE("a binding with a wrong x-match is refused in RabbitMQ's words") {
    OneExchange broker("headers");
    CHECK(broker.bind_queue("q", "", table({{"x-match", text("foo")}})) ==
          "PRECONDITION_FAILED - Invalid x-match field value <<\"foo\">>; expected all, any, "
          "all-with-x, or any-with-x");
    CHECK(broker.bind_queue("q", "", table({{"x-match", number(5)}})) ==
          "PRECONDITION_FAILED - Invalid x-match field type signedint (value 5); expected longstr");
  }

  TEST_CASE("many header bindings with shared criteria come and go one by one") {
    OneExchange broker("headers");
    const auto arguments = [](int id, const char* match) {
      return table({{"x-match", text(match)}, {"format", text("pdf")}, {"id", number(id)}});
    };
    for (int id = 0; id < 50; ++id) {
      broker.bind_queue("all" + std::to_string(id), "", arguments(id, "all"));
      broker.bind_queue("any" + std::to_string(id), "", arguments(id, "any"));
    }
    const FieldTable headers = table({{"format", text("pdf")}, {"id", number(7)}});
    CHECK(broker.route("x", "", headers).size() == 51);
    CHECK(broker.route("x", "", table({{"id", number(7)}})) == Names{"any7"});
    for (int id = 0; id < 50; id += 2) {
      broker.unbind(to_queue("x", "all" + std::to_string(id), "", arguments(id, "all")));
      broker.unbind(to_queue("x", "any" + std::to_string(id), "", arguments(id, "any")));
    }
    CHECK(broker.route("x", "", headers).size() == 26);
    CHECK(broker.route("x", "", table({{"format", text("pdf")}, {"id", number(8)}})).size() == 25);
  }

  TEST_CASE("unbinding matches the wire types of the arguments") {
    OneExchange broker("headers");
    broker.bind_queue("q", "", table({{"a", number(1)}}));
    broker.unbind(to_queue("x", "q", "", table({{"a", Value::int64(1)}})));
    CHECK(broker.route("x", "", table({{"a", number(1)}})) == Names{"q"});
    broker.unbind(to_queue("x", "q", "", table({{"a", number(1)}})));
    CHECK(broker.route("x", "", table({{"a", number(1)}})) == Names{});
  }
}
