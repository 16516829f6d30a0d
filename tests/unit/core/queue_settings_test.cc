#include "broker/core/queue_settings.h"

#include <chrono>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "broker/core/queue_argument_table.h"
#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

using std::chrono::milliseconds;

PolicyDefinition policy(FieldTable definition) {
  PolicyDefinition made;
  made.name = "p";
  made.definition = std::move(definition);
  return made;
}

QueueSettings of(FieldTable arguments) {
  return settings_of(a_queue("q", std::move(arguments)), nullptr, nullptr);
}

QueueSettings merged(FieldTable arguments, FieldTable by_policy, FieldTable by_operator = {}) {
  const PolicyDefinition user = policy(std::move(by_policy));
  const PolicyDefinition op = policy(std::move(by_operator));
  return settings_of(a_queue("q", std::move(arguments)), &user, &op);
}

FieldTable quorum(FieldTable arguments = {}) {
  arguments.set("x-queue-type", text("quorum"));
  return arguments;
}

}  // namespace

TEST_SUITE("queue settings") {
  TEST_CASE("without arguments and policies there are none") {
    CHECK(of({}) == QueueSettings{});
    CHECK_FALSE(of({}).counts_deliveries());
    QueueSettings of_quorum;
    of_quorum.delivery_limit = 20;
    CHECK(of(quorum()) == of_quorum);
    CHECK(of(quorum()).counts_deliveries());
  }

  TEST_CASE("every argument sets what it says") {
    const QueueSettings all = of(table({
        {"x-message-ttl", number(1)},
        {"x-expires", number(2)},
        {"x-max-length", number(3)},
        {"x-max-length-bytes", Value::int64(4)},
        {"x-overflow", text("reject-publish-dlx")},
        {"x-dead-letter-exchange", text("")},
        {"x-dead-letter-routing-key", text("k")},
        {"x-delivery-limit", number(0)},
        {"x-delivery-count-mode", text("acquired")},
        {"x-delayed-retry-type", text("returned")},
        {"x-delayed-retry-min", number(5)},
        {"x-delayed-retry-max", number(6)},
        {"x-delayed-retry-multiplier", number(2)},
        {"x-delayed-retry-jitter", number(7)},
        {"x-delayed-retry-schedule", array({number(8), number(9)})},
        {"x-consumer-timeout", number(10)},
        {"x-max-priority", number(255)},
        {"x-single-active-consumer", Value::boolean(true)},
        {"x-message-deduplication", Value::boolean(true)},
        {"x-deduplication-source", text("header:job")},
        {"x-deduplication-scope", text("in-queue")},
        {"x-deduplication-action", text("reject")},
        {"x-deduplication-move", text("tail")},
        {"x-cache-size", number(11)},
        {"x-cache-ttl", number(12)},
    }));
    QueueSettings wanted;
    wanted.message_ttl = milliseconds(1);
    wanted.expires = milliseconds(2);
    wanted.max_length = 3;
    wanted.max_length_bytes = 4;
    wanted.overflow = Overflow::reject_publish_dlx;
    wanted.dead_letter_exchange = "";
    wanted.dead_letter_routing_key = "k";
    wanted.delivery_limit = 0;
    wanted.delivery_count_mode = DeliveryCountMode::acquired;
    wanted.retry = {RetryType::returned,
                    milliseconds(5),
                    milliseconds(6),
                    2.0,
                    7,
                    {milliseconds(8), milliseconds(9)}};
    wanted.consumer_timeout = milliseconds(10);
    wanted.max_priority = 255;
    wanted.single_active_consumer = true;
    wanted.deduplication = {true,
                            DeduplicationSource::header,
                            "job",
                            DeduplicationScope::in_queue,
                            DeduplicationAction::reject,
                            true,
                            11,
                            milliseconds(12)};
    CHECK(all == wanted);
  }

  TEST_CASE("every setting of a policy has an argument of the same name") {
    for (const QueueArgument& row : queue_arguments()) {
      CAPTURE(std::string(row.key));
      CHECK(row.key.starts_with("x-"));
      CHECK((row.merge == Merge::declared_only) == row.noun.empty());
      if (row.in_operator_policies) CHECK_FALSE(row.noun.empty());
    }
  }

  TEST_CASE("the smallest number counts, whoever said it") {
    for (const char* key : {"expires", "message-ttl", "max-length", "max-length-bytes",
                            "consumer-timeout", "delivery-limit"}) {
      CAPTURE(std::string(key));
      const std::string argument = "x-" + std::string(key);
      const QueueSettings five = of(table({{argument, number(5)}}));
      REQUIRE(five != QueueSettings{});
      CHECK(merged(table({{argument, number(5)}}), table({{key, number(6)}})) == five);
      CHECK(merged(table({{argument, number(6)}}), table({{key, number(5)}})) == five);
      CHECK(merged({}, table({{key, number(5)}})) == five);
      CHECK(merged({}, {}, table({{key, Value::int64(5)}})) == five);
      CHECK(merged(table({{argument, number(6)}}), table({{key, number(7)}}),
                   table({{key, number(5)}})) == five);
      CHECK(merged(table({{argument, number(6)}}), table({{key, number(5)}}),
                   table({{key, number(7)}})) == five);
    }
  }

  TEST_CASE("a negative delivery limit is none, and any other is smaller") {
    struct Row {
      std::optional<int> argument;
      std::optional<int> by_policy;
      std::optional<int> by_operator;
      std::optional<std::uint32_t> limit;
    };

    for (const Row& row :
         {Row{-1, {}, {}, {}}, Row{-1, 5, {}, 5}, Row{5, -1, {}, 5}, Row{-1, -2, -3, {}},
          Row{0, -1, 7, 0}, Row{{}, -1, {}, {}}, Row{{}, {}, 30, 30}, Row{{}, {}, {}, 20}}) {
      FieldTable arguments = quorum();
      FieldTable by_policy;
      FieldTable by_operator;
      if (row.argument) arguments.set("x-delivery-limit", number(*row.argument));
      if (row.by_policy) by_policy.set("delivery-limit", number(*row.by_policy));
      if (row.by_operator) by_operator.set("delivery-limit", number(*row.by_operator));
      CHECK(merged(arguments, by_policy, by_operator).delivery_limit == row.limit);
    }
  }

  TEST_CASE("of words the operator's wins, then the argument, then the policy's") {
    const auto overflow = [](FieldTable arguments, FieldTable by_policy, FieldTable by_operator) {
      return merged(std::move(arguments), std::move(by_policy), std::move(by_operator)).overflow;
    };
    const FieldTable argument = table({{"x-overflow", text("reject-publish")}});
    const FieldTable by_policy = table({{"overflow", text("reject-publish-dlx")}});
    const FieldTable by_operator = table({{"overflow", text("drop-head")}});
    CHECK(overflow(argument, by_policy, by_operator) == Overflow::drop_head);
    CHECK(overflow(argument, by_policy, {}) == Overflow::reject_publish);
    CHECK(overflow({}, by_policy, {}) == Overflow::reject_publish_dlx);
    CHECK(merged(table({{"x-dead-letter-exchange", text("a")}}),
                 table({{"dead-letter-exchange", text("b")},
                        {"dead-letter-routing-key", text("k")}})) ==
          of(table(
              {{"x-dead-letter-exchange", text("a")}, {"x-dead-letter-routing-key", text("k")}})));
  }

  TEST_CASE("what only a declaration may say is not taken from policies") {
    CHECK(merged({}, table({{"max-priority", number(5)},
                            {"single-active-consumer", Value::boolean(true)},
                            {"queue-type", text("quorum")}})) == QueueSettings{});
  }

  TEST_CASE("what another queue type has is not taken") {
    CHECK(of(quorum(table({{"x-max-priority", number(5)}}))).max_priority == 0);
  }

  TEST_CASE("a value that makes no sense counts as absent") {
    CHECK(of(quorum(table({{"x-delivery-limit", text("many")}}))).delivery_limit == 20U);
    CHECK(merged(table({{"x-max-length", number(5)}}), table({{"max-length", number(-1)}}))
              .max_length == 5U);
  }

  TEST_CASE("retries need a delay; without a greatest one the smallest is both") {
    CHECK(of(table({{"x-delayed-retry-type", text("all")}})).retry.type == RetryType::disabled);
    const RetrySettings constant =
        of(table({{"x-delayed-retry-type", text("all")}, {"x-delayed-retry-min", number(5)}}))
            .retry;
    CHECK(constant.type == RetryType::all);
    CHECK(constant.max == milliseconds(5));
    const RetrySettings turned =
        of(table({{"x-delayed-retry-min", number(5)}, {"x-delayed-retry-max", number(4)}})).retry;
    CHECK(turned.max == milliseconds(5));
    const RetrySettings scheduled = of(table({{"x-delayed-retry-type", text("failed")},
                                              {"x-delayed-retry-schedule", array({number(1)})}}))
                                        .retry;
    CHECK(scheduled.type == RetryType::failed);
    const QueueSettings merged_type = merged(table({{"x-delayed-retry-type", text("all")}}),
                                             table({{"delayed-retry-min", number(7)}}));
    CHECK(merged_type.retry.type == RetryType::all);
    CHECK(merged_type.counts_deliveries());
  }

  TEST_CASE("a dead letter queue is the default exchange with its name as the key") {
    const QueueSettings wanted = of(
        table({{"x-dead-letter-exchange", text("")}, {"x-dead-letter-routing-key", text("dead")}}));
    const FieldTable argument = table({{"x-dead-letter-queue", text("dead")}});
    const FieldTable by_policy = table({{"dead-letter-queue", text("dead")}});
    CHECK(of(argument) == wanted);
    CHECK(merged({}, by_policy) == wanted);
    CHECK(merged(argument, table({{"dead-letter-queue", text("other")}})) == wanted);
    CHECK(merged(argument, table({{"dead-letter-exchange", text("x")},
                                  {"dead-letter-routing-key", text("k")}})) == wanted);
    const QueueSettings by_exchange =
        merged(table({{"x-dead-letter-exchange", text("x")}}), by_policy);
    CHECK(by_exchange.dead_letter_exchange == "x");
    CHECK_FALSE(by_exchange.dead_letter_routing_key.has_value());
  }

  TEST_CASE("a policy for all queues does not make its dead letter queue die into itself") {
    const PolicyDefinition by_policy = policy(table({{"dead-letter-queue", text("dead")}}));
    CHECK(settings_of(a_queue("dead"), &by_policy, nullptr) == QueueSettings{});
    CHECK(dead_letter_queue_of(a_queue("dead"), &by_policy).empty());
    CHECK(dead_letter_queue_of(a_queue("q"), &by_policy) == "dead");
    CHECK(dead_letter_queue_of(a_queue("q"), nullptr).empty());
  }
}
