#include "broker/core/arguments.h"

#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "broker/core/queue_argument_table.h"
#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

constexpr std::int64_t kTenYears = 315'360'000'000;

std::string validate(FieldTable arguments) {
  return verdict(validate_new_queue(a_queue("Q", std::move(arguments)), "V"));
}

std::string validate_quorum(FieldTable arguments) {
  arguments.set("x-queue-type", text("quorum"));
  QueueDefinition wanted = a_queue("Q", std::move(arguments));
  wanted.durable = true;
  return verdict(validate_new_queue(wanted, "V"));
}

std::string invalid(std::string_view key, std::string_view detail) {
  return "PRECONDITION_FAILED - invalid arg '" + std::string(key) + "' for queue 'Q' in vhost 'V'" +
         std::string(detail);
}

bool is_of_classic(const QueueArgument& known) {
  return (known.accepted_by & queue_type_set(QueueType::classic)) != 0;
}

bool is_of_both_types(std::string_view key) {
  const QueueArgument* known = find_queue_argument(key);
  return known != nullptr && key != kQueueTypeKey && is_of_classic(*known) &&
         (known->accepted_by & queue_type_set(QueueType::quorum)) != 0;
}

std::string equivalence(const QueueDefinition& existing, const QueueDefinition& wanted) {
  return verdict(check_equivalence(existing, wanted, "/"));
}

std::string equivalence(const ExchangeDefinition& existing, const ExchangeDefinition& wanted) {
  return verdict(check_equivalence(existing, wanted, "/"));
}

}  // namespace

TEST_SUITE("queue arguments") {
  TEST_CASE("each known argument takes its values and refuses the others in RabbitMQ's words") {
    struct Row {
      const char* key;
      std::vector<Value> accepted;
      std::vector<std::pair<Value, const char*>> refused;
    };

    std::set<std::string> tested;
    const std::pair<Value, const char*> not_integer = {text("x"),
                                                       ": \"expected integer, got longstr\""};
    const std::pair<Value, const char*> not_text = {number(1), ": {unacceptable_type,signedint}"};
    for (const Row& row : {
             Row{"x-message-ttl",
                 {number(0), Value::int64(kTenYears)},
                 {not_integer,
                  {number(-1), ": {value_negative,-1}"},
                  {Value::int64(kTenYears + 1), ": {value_too_large,315360000001}"}}},
             Row{"x-expires",
                 {number(1), Value::int64(kTenYears)},
                 {not_integer,
                  {number(0), ": {value_zero,0}"},
                  {number(-5), ": {value_negative,-5}"},
                  {Value::int64(kTenYears + 1), ": {value_too_large,315360000001}"}}},
             Row{"x-max-length",
                 {number(0), Value::int64(INT64_MAX)},
                 {not_integer, {number(-1), ": {value_negative,-1}"}}},
             Row{"x-max-length-bytes",
                 {number(0)},
                 {not_integer, {number(-1), ": {value_negative,-1}"}}},
             Row{"x-max-priority",
                 {number(0), number(255)},
                 {not_integer,
                  {number(-1), ": {value_negative,-1}"},
                  {number(256), ": {max_value_exceeded,256}"}}},
             Row{"x-overflow",
                 {text("drop-head"), text("reject-publish"), text("reject-publish-dlx")},
                 {not_text, {text("foo"), ": invalid_overflow"}, {text(""), ": invalid_overflow"}}},
             Row{"x-single-active-consumer",
                 {Value::boolean(true), Value::boolean(false)},
                 {{number(1), ": {unacceptable_type,signedint}"},
                  {text("true"), ": {unacceptable_type,longstr}"}}},
             Row{"x-queue-type",
                 {text("classic"), text("")},
                 {not_text,
                  {text("foo"), ": \"unsupported queue type 'foo'\""},
                  {text("stream"), ": \"unsupported queue type 'stream'\""}}},
             Row{"x-queue-mode",
                 {text("default"), text("lazy")},
                 {not_text, {text("foo"), ": \"unsupported queue mode 'foo'\""}}},
             Row{"x-queue-version",
                 {number(1), number(2)},
                 {not_integer, {number(3), ": \"unsupported queue version '3'\""}}},
             Row{"x-queue-leader-locator",
                 {text("client-local"), text("balanced"), text("random"), text("least-leaders")},
                 {not_text, {text("foo"), ": invalid_queue_locator_arg"}}},
             Row{"x-queue-master-locator", {text("bogus"), number(1)}, {}},
             Row{"x-consumer-timeout",
                 {number(0), number(1000)},
                 {not_integer, {number(-1), ": {value_negative,-1}"}}},
             Row{"x-consumer-disconnected-timeout",
                 {number(0)},
                 {not_integer, {number(-1), ": {value_negative,-1}"}}},
             Row{"x-dead-letter-strategy",
                 {text("at-most-once"), text("at-least-once")},
                 {not_text, {text("foo"), ": invalid_dlx_strategy"}}},
             Row{"x-delivery-limit",
                 {number(-1), number(0), Value::int64(4294967295)},
                 {not_integer, {Value::int64(4294967296), ": {value_too_large,4294967296}"}}},
             Row{"x-delivery-count-mode",
                 {text("returned"), text("failed"), text("acquired")},
                 {not_text, {text("nack"), ": invalid_delivery_count_mode"}}},
             Row{"x-delayed-retry-type",
                 {text("disabled"), text("all"), text("failed"), text("returned")},
                 {not_text, {text(""), ": invalid_delayed_retry_type"}}},
             Row{"x-delayed-retry-min",
                 {number(0), Value::int64(kTenYears)},
                 {not_integer,
                  {number(-1), ": {value_negative,-1}"},
                  {Value::int64(kTenYears + 1), ": {value_too_large,315360000001}"}}},
             Row{"x-delayed-retry-max",
                 {number(0)},
                 {not_integer, {number(-1), ": {value_negative,-1}"}}},
             Row{"x-delayed-retry-multiplier",
                 {number(1), Value::float64(1.5), Value::float32(2), number(1000)},
                 {{text("2"), ": \"expected number, got longstr\""},
                  {Value::float64(0.5), ": {value_too_small,0.5}"},
                  {number(1001), ": {value_too_large,1001}"}}},
             Row{"x-delayed-retry-jitter",
                 {number(0), number(100)},
                 {not_integer,
                  {number(-1), ": {value_negative,-1}"},
                  {number(101), ": {value_too_large,101}"}}},
             Row{"x-delayed-retry-schedule",
                 {array({number(0)}), array({number(1000), Value::int64(kTenYears)})},
                 {not_text,
                  {array({}), ": empty_schedule"},
                  {Value::array({std::vector<Value>(101, number(1))}), ": schedule_too_long"},
                  {array({text("1s")}), ": \"expected integer, got longstr\""},
                  {array({number(1), number(-1)}), ": {value_negative,-1}"}}},
             Row{"x-dead-letter-queue",
                 {text("dead"), text(std::string(255, 'q')), text(" ")},
                 {not_text,
                  {text(""), ": invalid_queue_name"},
                  {text(std::string(256, 'q')), ": invalid_queue_name"},
                  {text("a\nb"), ": invalid_queue_name"},
                  {text("a\rb"), ": invalid_queue_name"},
                  {text("amq.dead"), ": invalid_queue_name"},
                  {text("Q"), ": dead_letter_queue_is_the_queue_itself"}}},
             Row{"x-message-deduplication",
                 {Value::boolean(true), Value::boolean(false)},
                 {not_text, {text("true"), ": {unacceptable_type,longstr}"}}},
             Row{"x-deduplication-header", {text("job")}, {not_text}},
             Row{"x-deduplication-source",
                 {text("message-id"), text("body"), text("header:job")},
                 {not_text,
                  {text("header:"), ": invalid_deduplication_source"},
                  {text("job"), ": invalid_deduplication_source"}}},
             Row{"x-deduplication-scope",
                 {text("window"), text("in-queue")},
                 {not_text, {text("x"), ": invalid_deduplication_scope"}}},
             Row{"x-deduplication-action",
                 {text("drop"), text("replace"), text("reject")},
                 {not_text, {text("x"), ": invalid_deduplication_action"}}},
             Row{"x-deduplication-move",
                 {text("keep"), text("tail")},
                 {not_text, {text("x"), ": invalid_deduplication_move"}}},
             Row{"x-cache-size",
                 {number(1), number(10'000'000)},
                 {not_integer,
                  {number(0), ": {value_zero,0}"},
                  {number(10'000'001), ": {value_too_large,10000001}"}}},
             Row{"x-cache-ttl",
                 {number(1), Value::int64(kTenYears)},
                 {not_integer, {number(0), ": {value_zero,0}"}}},
             Row{"x-anything-else", {text("x"), number(-1), Value::nothing()}, {}},
         }) {
      CAPTURE(std::string(row.key));
      tested.insert(row.key);
      for (const Value& value : row.accepted) {
        CHECK(validate(table({{row.key, value}})) == "ok");
        if (is_of_both_types(row.key)) CHECK(validate_quorum(table({{row.key, value}})) == "ok");
      }
      for (const auto& [value, detail] : row.refused) {
        CHECK(validate(table({{row.key, value}})) == invalid(row.key, detail));
        if (!is_of_both_types(row.key)) continue;
        CHECK(validate_quorum(table({{row.key, value}})) == invalid(row.key, detail));
      }
    }
    // These have test cases of their own.
    tested.insert({"x-dead-letter-exchange", "x-dead-letter-routing-key"});
    for (const QueueArgument& known : queue_arguments()) {
      CAPTURE(std::string(known.key));
      if (is_of_classic(known)) CHECK(tested.count(std::string(known.key)) == 1);
    }
  }

  TEST_CASE("an integer may have any width, and nothing else is an integer") {
    for (const FieldType type :
         {FieldType::int8, FieldType::uint8, FieldType::int16, FieldType::uint16, FieldType::int32,
          FieldType::uint32, FieldType::int64, FieldType::int64_alias}) {
      CHECK(validate(table({{"x-message-ttl", Value::integer(type, 5)}})) == "ok");
    }
    const std::pair<Value, const char*> others[] = {
        {text("5"), "longstr"},
        {Value::float64(5), "double"},
        {Value::float32(5), "float"},
        {Value::timestamp(5), "timestamp"},
        {Value::boolean(true), "bool"},
        {Value::nothing(), "void"},
        {Value::decimal({0, 5}), "decimal"},
        {Value::table({}), "table"},
        {array({}), "array"},
        {Value::binary("5"), "binary"},
    };
    for (const auto& [value, name] : others) {
      CHECK(validate(table({{"x-message-ttl", value}})) ==
            invalid("x-message-ttl", ": \"expected integer, got " + std::string(name) + "\""));
    }
  }

  TEST_CASE("a dead letter exchange is a string, and a key needs one") {
    CHECK(validate(table({{"x-dead-letter-exchange", text("")}})) == "ok");
    CHECK(validate(table({{"x-dead-letter-exchange", number(1)}})) ==
          "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in "
          "queue 'Q' in vhost 'V'");
    CHECK(validate(table({{"x-dead-letter-routing-key", text("k")}})) ==
          invalid("x-dead-letter-routing-key", ": routing_key_but_no_dlx_defined"));
    CHECK(validate(table(
              {{"x-dead-letter-routing-key", number(1)}, {"x-dead-letter-exchange", text("x")}})) ==
          invalid("x-dead-letter-routing-key", ": {unacceptable_type,signedint}"));
    // No message can carry it.
    CHECK(validate(table({{"x-dead-letter-routing-key", text(std::string(256, 'k'))},
                          {"x-dead-letter-exchange", text("x")}})) ==
          invalid("x-dead-letter-routing-key", ": longer_than_255_octets"));
    CHECK(validate(table({{"x-dead-letter-routing-key", text(std::string(255, 'k'))},
                          {"x-dead-letter-exchange", text("x")}})) == "ok");
    CHECK(validate(table({{"x-dead-letter-routing-key", text("k")},
                          {"x-dead-letter-exchange", text("x")}})) == "ok");
  }

  TEST_CASE("a dead letter queue stands alone") {
    CHECK(validate(table(
              {{"x-dead-letter-queue", text("dead")}, {"x-dead-letter-exchange", text("x")}})) ==
          invalid("x-dead-letter-queue", ": dead_letter_queue_and_dlx_defined"));
    CHECK(validate(table(
              {{"x-dead-letter-queue", text("dead")}, {"x-dead-letter-routing-key", text("k")}})) ==
          invalid("x-dead-letter-routing-key", ": routing_key_but_no_dlx_defined"));
  }

  TEST_CASE("an argument of another queue type is refused by name") {
    for (const std::string key :
         {"x-max-in-memory-length", "x-max-in-memory-bytes", "x-quorum-initial-group-size",
          "x-initial-cluster-size", "x-max-age", "x-stream-max-segment-size-bytes",
          "x-stream-filter-size-bytes"}) {
      CAPTURE(key);
      CHECK(validate(table({{key, number(1)}})) ==
            invalid(key, " of queue type rabbit_classic_queue"));
    }
    for (const std::string key :
         {"x-max-priority", "x-queue-mode", "x-queue-version", "x-max-age"}) {
      CAPTURE(key);
      CHECK(validate_quorum(table({{key, number(1)}})) ==
            invalid(key, " of queue type rabbit_quorum_queue"));
    }
  }

  TEST_CASE("quorum queues have arguments of their own") {
    CHECK(validate_quorum({}) == "ok");
    CHECK(validate_quorum(table({{"x-quorum-initial-group-size", number(0)}})) ==
          invalid("x-quorum-initial-group-size", ": {value_zero,0}"));
    CHECK(validate_quorum(table({{"x-max-in-memory-length", number(-1)}})) ==
          invalid("x-max-in-memory-length", ": {value_negative,-1}"));
  }

  TEST_CASE("quorum queues are durable and shared; auto-delete is complained about first") {
    QueueDefinition wanted = a_queue("Q", table({{"x-queue-type", text("quorum")}}));
    const auto refused = [&wanted] { return verdict(validate_new_queue(wanted, "V")); };
    const std::string text = "PRECONDITION_FAILED - invalid property '";
    wanted.auto_delete = true;
    wanted.exclusive = true;
    CHECK(refused() == text + "auto-delete' for queue 'Q' in vhost 'V'");
    wanted.auto_delete = false;
    CHECK(refused() == text + "exclusive-owner' for queue 'Q' in vhost 'V'");
    wanted.exclusive = false;
    CHECK(refused() == text + "non-durable' for queue 'Q' in vhost 'V'");
    wanted.durable = true;
    CHECK(refused() == "ok");
    wanted.durable = false;
    wanted.arguments.set("x-expires", number(0));
    CHECK(refused() == invalid("x-expires", ": {value_zero,0}"));
  }

  TEST_CASE("the order of complaints is that of RabbitMQ") {
    FieldTable arguments = table({{"x-overflow", text("foo")},
                                  {"x-expires", number(0)},
                                  {"x-max-age", text("1D")},
                                  {"x-queue-type", text("foo")},
                                  {"x-dead-letter-exchange", number(1)}});
    CHECK(validate(arguments).find("invalid type 'signedint'") != std::string::npos);
    arguments.erase("x-dead-letter-exchange");
    CHECK(validate(arguments) == invalid("x-queue-type", ": \"unsupported queue type 'foo'\""));
    arguments.erase("x-queue-type");
    CHECK(validate(arguments) == invalid("x-max-age", " of queue type rabbit_classic_queue"));
    arguments.erase("x-max-age");
    CHECK(validate(arguments) == invalid("x-expires", ": {value_zero,0}"));
    arguments.erase("x-expires");
    CHECK(validate(arguments) == invalid("x-overflow", ": invalid_overflow"));
  }

  TEST_CASE("the queue type is what the argument says, classic by default") {
    CHECK(queue_type_of(a_queue("q")) == QueueType::classic);
    CHECK(queue_type_of(a_queue("q", table({{"x-queue-type", text("")}}))) == QueueType::classic);
    CHECK(queue_type_of(a_queue("q", table({{"x-queue-type", text("quorum")}}))) ==
          QueueType::quorum);
    CHECK(queue_type_from("stream") == QueueType::stream);
    CHECK_FALSE(queue_type_from("Quorum").has_value());
  }
}

TEST_SUITE("equivalence of queues") {
  TEST_CASE("durable is compared first, then auto_delete, then arguments") {
    const QueueDefinition existing = a_queue("dq");
    QueueDefinition wanted = a_queue("dq", table({{"x-expires", number(1)}}));
    wanted.durable = true;
    wanted.auto_delete = true;
    const std::string inequivalent = "PRECONDITION_FAILED - inequivalent arg '";
    CHECK(equivalence(existing, wanted) ==
          inequivalent +
              "durable' for queue 'dq' in vhost '/': received 'true' but current is 'false'");
    CHECK(equivalence(wanted, existing) ==
          inequivalent +
              "durable' for queue 'dq' in vhost '/': received 'false' but current is 'true'");
    wanted.durable = false;
    CHECK(equivalence(existing, wanted) ==
          inequivalent +
              "auto_delete' for queue 'dq' in vhost '/': received 'true' but current is 'false'");
    wanted.auto_delete = false;
    CHECK(equivalence(existing, wanted) ==
          inequivalent +
              "x-expires' for queue 'dq' in vhost '/': received the value '1' of type 'signedint' "
              "but current is none");
  }

  TEST_CASE("an exclusive queue is never durable, whatever is asked for") {
    QueueDefinition existing = a_queue("q");
    existing.exclusive = true;
    QueueDefinition wanted = existing;
    wanted.durable = true;
    CHECK(equivalence(existing, wanted) == "ok");
  }

  TEST_CASE("argument values are compared by meaning") {
    struct Row {
      const char* key;
      std::optional<Value> current;
      std::optional<Value> received;
      const char* difference;  // null when equivalent
    };

    for (const Row& row : {
             Row{"x-message-ttl", number(5), Value::int64(5), nullptr},
             Row{"x-message-ttl", number(5), Value::integer(FieldType::uint8, 5), nullptr},
             Row{"x-message-ttl", number(5), Value::timestamp(5), nullptr},
             Row{"x-message-ttl", number(5), number(6), "received '6' but current is '5'"},
             Row{"x-message-ttl", number(5), text("5"), "received '5' but current is '5'"},
             Row{"x-message-ttl", number(5), std::nullopt,
                 "received none but current is the value '5' of type 'signedint'"},
             Row{"x-message-ttl", std::nullopt, Value::int64(5),
                 "received the value '5' of type 'long' but current is none"},
             Row{"x-overflow", text("a"), text("b"), "received 'b' but current is 'a'"},
             Row{"x-single-active-consumer", Value::boolean(true), Value::boolean(false),
                 "received 'false' but current is 'true'"},
             Row{"x-queue-type", std::nullopt, text("classic"), nullptr},
             Row{"x-queue-type", text("classic"), std::nullopt, nullptr},
             Row{"x-queue-type", std::nullopt, text(""), nullptr},
             Row{"x-queue-type", text("quorum"), std::nullopt,
                 "received 'classic' but current is 'quorum'"},
             Row{"x-queue-type", std::nullopt, text("quorum"),
                 "received 'quorum' but current is 'classic'"},
             Row{"x-foo", number(1), number(2), nullptr},        // unknown
             Row{"x-max-age", text("1h"), text("2h"), nullptr},  // of another queue type
             Row{"x-delivery-limit", number(1), number(2), "received '2' but current is '1'"},
             Row{"x-dead-letter-queue", text("a"), text("b"), "received 'b' but current is 'a'"},
             Row{"x-dead-letter-queue", text("a"), std::nullopt,
                 "received none but current is the value 'a' of type 'longstr'"},
             Row{"x-delayed-retry-schedule", array({number(1), number(2)}),
                 array({number(1), number(3)}), "received '[1, 3]' but current is '[1, 2]'"},
             Row{"x-delayed-retry-multiplier", Value::float64(2), Value::float32(2), nullptr},
         }) {
      CAPTURE(std::string(row.key));
      QueueDefinition existing = a_queue("Q");
      QueueDefinition wanted = a_queue("Q");
      if (row.current) existing.arguments.set(row.key, *row.current);
      if (row.received) wanted.arguments.set(row.key, *row.received);
      const std::string expected = row.difference == nullptr
                                       ? "ok"
                                       : "PRECONDITION_FAILED - inequivalent arg '" +
                                             std::string(row.key) +
                                             "' for queue 'Q' in vhost '/': " + row.difference;
      CHECK(equivalence(existing, wanted) == expected);
    }
  }

  TEST_CASE("a value that is wrong is still only compared when the queue exists") {
    CHECK(equivalence(a_queue("q"), a_queue("q", table({{"x-expires", number(-1)}}))) ==
          "PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'q' in vhost '/': received "
          "the value '-1' of type 'signedint' but current is none");
  }
}

TEST_SUITE("equivalence of exchanges") {
  TEST_CASE("type, durable, auto_delete, internal and the alternate exchange, in this order") {
    const ExchangeDefinition existing = an_exchange("dx", "direct");
    ExchangeDefinition wanted = an_exchange("dx", "fanout");
    wanted.durable = wanted.auto_delete = wanted.internal = true;
    wanted.arguments.set("alternate-exchange", text("ae"));
    const auto expect = [&](const std::string& key, const std::string& difference) {
      CHECK(equivalence(existing, wanted) == "PRECONDITION_FAILED - inequivalent arg '" + key +
                                                 "' for exchange 'dx' in vhost '/': received " +
                                                 difference);
    };
    expect("type", "'fanout' but current is 'direct'");
    wanted.type = "direct";
    expect("durable", "'true' but current is 'false'");
    wanted.durable = false;
    expect("auto_delete", "'true' but current is 'false'");
    wanted.auto_delete = false;
    expect("internal", "'true' but current is 'false'");
    wanted.internal = false;
    expect("alternate-exchange", "the value 'ae' of type 'longstr' but current is none");
    wanted.arguments = table({{"other", number(1)}});
    CHECK(equivalence(existing, wanted) == "ok");
  }

  TEST_CASE("the alternate exchange is a string") {
    CHECK(verdict(validate_new_exchange(
              an_exchange("aebad", "direct", table({{"alternate-exchange", number(1)}})), "/")) ==
          "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange "
          "'aebad' in vhost '/'");
    CHECK(alternate_exchange(table({{"alternate-exchange", text("ae")}})) == "ae");
    CHECK(alternate_exchange({}) == "");
  }
}

TEST_SUITE("binding arguments") {
  TEST_CASE("are the same whatever their order, but not with other types") {
    const FieldTable one = table({{"a", number(1)}, {"b", text("x")}});
    const FieldTable other_order = table({{"b", text("x")}, {"a", number(1)}});
    const FieldTable other_type = table({{"a", Value::int64(1)}, {"b", text("x")}});
    CHECK(canonical_arguments(one) == canonical_arguments(other_order));
    CHECK(canonical_arguments(one) != canonical_arguments(other_type));
    CHECK(canonical_arguments(one) != canonical_arguments({}));
    CHECK(canonical_arguments({}) == "");
  }
}
