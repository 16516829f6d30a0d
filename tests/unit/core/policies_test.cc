#include "broker/core/policies.h"

#include <string>

#include <doctest/doctest.h>

#include "broker/core/queue_argument_table.h"
#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

PolicyDefinition policy(std::string name, std::string pattern, std::string apply_to = "all",
                        int priority = 0,
                        FieldTable definition = table({{"max-length", number(1)}})) {
  return {std::move(name), std::move(pattern), std::move(apply_to), priority,
          std::move(definition)};
}

std::string validate(const PolicyDefinition& wanted, PolicyKind kind = PolicyKind::user) {
  const auto valid = validate_policy(wanted, kind);
  return valid ? "ok" : valid.error();
}

std::string validate(FieldTable definition, PolicyKind kind = PolicyKind::user) {
  return validate(policy("p", ".*", "all", 0, std::move(definition)), kind);
}

QueueDefinition quorum_queue(std::string_view name) {
  QueueDefinition made = a_queue(name, table({{"x-queue-type", text("quorum")}}));
  made.durable = true;
  return made;
}

std::string name_of(const PolicyDefinition* found) {
  return found == nullptr ? "none" : found->name;
}

std::string match(const Policies& policies, const QueueDefinition& queue) {
  return name_of(policies.match(PolicyKind::user, queue));
}

std::string match(const Policies& policies, const ExchangeDefinition& exchange) {
  return name_of(policies.match(PolicyKind::user, exchange));
}

Names names_of(const Policies& policies, PolicyKind kind) {
  Names names;
  policies.each(kind, [&](const PolicyDefinition& one) { names.push_back(one.name); });
  return names;
}

}  // namespace

TEST_SUITE("policy validation") {
  TEST_CASE("values are judged as those of the argument, in the words of RabbitMQ's policies") {
    struct Row {
      const char* key;
      Value accepted;
      Value refused;
      const char* text;
    };

    for (const Row& row : {
             Row{"message-ttl", number(0), text("a"), "<<\"a\">> is not a valid message TTL"},
             Row{"expires", number(1), number(0), "0 is not a valid queue expiry"},
             Row{"max-length", number(0), number(-1), "-1 is not a valid maximum length"},
             Row{"max-length-bytes", number(0), Value::float64(1.5),
                 "1.5 is not a valid maximum length in bytes"},
             Row{"max-in-memory-length", number(0), number(-1),
                 "-1 is not a valid maximum memory in bytes"},
             Row{"overflow", text("reject-publish"), text("x"),
                 "<<\"x\">> is not a valid overflow value"},
             Row{"dead-letter-exchange", text(""), number(1),
                 "1 is not a valid dead letter exchange name"},
             Row{"dead-letter-routing-key", text("k"), Value::boolean(true),
                 "true is not a valid dead letter routing key"},
             Row{"dead-letter-strategy", text("at-least-once"), text("x"),
                 "<<\"x\">> is not a valid dead letter strategy"},
             Row{"dead-letter-queue", text("dead"), text("amq.dead"),
                 "<<\"amq.dead\">> is not a valid dead letter queue name"},
             Row{"alternate-exchange", text("ae"), array({number(1), text("b")}),
                 "[1,<<\"b\">>] is not a valid alternate exchange name"},
             Row{"delivery-limit", number(-1), text("5"),
                 "<<\"5\">> is not a valid delivery limit"},
             Row{"consumer-timeout", number(0), number(-1), "-1 is not a valid consumer timeout"},
             Row{"queue-mode", text("lazy"), text("x"),
                 "<<\"x\">> is not a valid queue-mode value"},
             Row{"queue-version", number(2), number(3), "3 is not a valid queue version"},
             Row{"queue-leader-locator", text("balanced"), Value::nothing(),
                 "null is not a valid queue leader locator value"},
             Row{"delayed-retry-type", text("all"), text("x"),
                 "<<\"x\">> is not a valid delayed retry type"},
             Row{"delayed-retry-schedule", array({number(1)}),
                 Value::table(table({{"a", number(1)}})),
                 "#{<<\"a\">> => 1} is not a valid delayed retry schedule"},
             Row{"message-deduplication", Value::boolean(true), number(1),
                 "1 is not a valid message deduplication value"},
             Row{"target-group-size", number(3), number(0),
                 "0 is not a valid target quorum queue group size"},
         }) {
      CAPTURE(std::string(row.key));
      CHECK(validate(table({{row.key, row.accepted}})) == "ok");
      CHECK(validate(table({{row.key, row.refused}})) == row.text);
    }
  }

  TEST_CASE("unknown settings are listed, those that only a declaration may make among them") {
    CHECK(validate(table({{"foo", number(1)}})) ==
          "[{<<\"foo\">>,1}] are not recognised policy settings");
    CHECK(validate(table({{"max-priority", number(1)},
                          {"max-length", number(1)},
                          {"x-max-length", text("1")}})) ==
          "[{<<\"max-priority\">>,1},{<<\"x-max-length\">>,<<\"1\">>}] are not recognised policy "
          "settings");
    CHECK(validate(FieldTable{}) == "no policy provided");
  }

  TEST_CASE("operators set bounds only") {
    for (const char* key :
         {"expires", "message-ttl", "max-length", "max-length-bytes", "max-in-memory-bytes",
          "delivery-limit", "target-group-size", "delayed-retry-min"}) {
      CAPTURE(std::string(key));
      CHECK(validate(table({{key, number(1)}}), PolicyKind::operators) == "ok");
    }
    CHECK(validate(table({{"dead-letter-exchange", text("x")}}), PolicyKind::operators) ==
          "[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings");
    CHECK(validate(table({{"alternate-exchange", text("x")}}), PolicyKind::operators) ==
          "[{<<\"alternate-exchange\">>,<<\"x\">>}] are not recognised policy settings");
  }

  TEST_CASE("pattern and apply-to are judged too, and every fault is told") {
    CHECK(validate(policy("p", "", "exchanges")) == "ok");
    const std::string text = validate(policy("p", "(a", "zzz", 0, table({})));
    CHECK(text.starts_with("pattern should be regular expression but is invalid: \""));
    CHECK(
        text.ends_with("\napply-to 'zzz' unrecognised; should be one of: 'queues', "
                       "'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'\n"
                       "no policy provided"));
  }

  TEST_CASE("a dead letter queue stands alone") {
    CHECK(
        validate(table({{"dead-letter-queue", text("d")}, {"dead-letter-exchange", text("x")}})) ==
        "dead-letter-queue and dead-letter-exchange exclude each other");
  }
}

TEST_SUITE("policies") {
  TEST_CASE("the pattern is found anywhere in the name") {
    Policies policies;
    policies.set(PolicyKind::user, policy("p", "ab"));
    CHECK(match(policies, a_queue("xaby")) == "p");
    CHECK(match(policies, an_exchange("ab", "direct")) == "p");
    CHECK(match(policies, a_queue("a")) == "none");
    policies.set(PolicyKind::user, policy("p", "^a.*b$"));
    CHECK(match(policies, a_queue("a\xff\xfe"
                                  "b")) == "p");
    CHECK(match(policies, a_queue("xab")) == "none");
  }

  TEST_CASE("the one with the highest priority holds, of equals the first by name") {
    Policies policies;
    policies.set(PolicyKind::user, policy("b", "q", "all", 1));
    policies.set(PolicyKind::user, policy("c", "q", "all", -1));
    policies.set(PolicyKind::user, policy("a", "q", "all", 1));
    policies.set(PolicyKind::user, policy("d", "q1", "all", 2));
    CHECK(names_of(policies, PolicyKind::user) == Names{"d", "a", "b", "c"});
    CHECK(match(policies, a_queue("q")) == "a");
    CHECK(match(policies, a_queue("q1")) == "d");
    CHECK(policies.clear(PolicyKind::user, "d"));
    CHECK_FALSE(policies.clear(PolicyKind::user, "d"));
    CHECK(match(policies, a_queue("q1")) == "a");
    policies.set(PolicyKind::user, policy("a", "q", "all", -2));
    CHECK(names_of(policies, PolicyKind::user) == Names{"b", "c", "a"});
    CHECK(names_of(policies, PolicyKind::operators).empty());
  }

  TEST_CASE("apply-to says what it holds for") {
    struct Row {
      const char* apply_to;
      bool classic;
      bool quorum;
      bool exchange;
    };

    for (const Row& row :
         {Row{"all", true, true, true}, Row{"queues", true, true, false},
          Row{"classic_queues", true, false, false}, Row{"quorum_queues", false, true, false},
          Row{"streams", false, false, false}, Row{"exchanges", false, false, true}}) {
      CAPTURE(std::string(row.apply_to));
      Policies policies;
      policies.set(PolicyKind::user, policy("p", ".*", row.apply_to));
      CHECK((match(policies, a_queue("n")) == "p") == row.classic);
      CHECK((match(policies, quorum_queue("n")) == "p") == row.quorum);
      CHECK((match(policies, an_exchange("n", "direct")) == "p") == row.exchange);
    }
  }

  TEST_CASE("a policy with a setting that the queue type has not leaves it to the next") {
    Policies policies;
    policies.set(PolicyKind::user,
                 policy("of classic", ".*", "queues", 1, table({{"queue-mode", text("lazy")}})));
    policies.set(PolicyKind::user, policy("of both", ".*", "queues"));
    CHECK(match(policies, a_queue("q")) == "of classic");
    CHECK(match(policies, quorum_queue("q")) == "of both");
  }

  TEST_CASE("settings are those of the argument, the policy and the operator's policy") {
    Policies policies;
    policies.set(PolicyKind::user,
                 policy("p", "q", "queues", 0,
                        table({{"max-length", number(7)}, {"message-ttl", number(9)}})));
    policies.set(PolicyKind::operators,
                 policy("o", "q", "queues", 0, table({{"max-length", number(8)}})));
    const QueueSettings settings =
        policies.settings_of(a_queue("q", table({{"x-message-ttl", number(10)}})));
    CHECK(settings.max_length == 7U);
    CHECK(settings.message_ttl == std::chrono::milliseconds(9));
    CHECK(policies.settings_of(a_queue("other")) == QueueSettings{});
  }

  TEST_CASE(
      "an alternate exchange is the argument's, else the policy's; the default one has none") {
    Policies policies;
    policies.set(PolicyKind::user, policy("p", ".*", "exchanges", 0,
                                          table({{"alternate-exchange", text("by policy")}})));
    CHECK(policies.alternate_of(an_exchange("x", "direct")) == "by policy");
    CHECK(policies.alternate_of(
              an_exchange("x", "direct", table({{"alternate-exchange", text("ae")}}))) == "ae");
    CHECK(policies.alternate_of(an_exchange("", "direct")).empty());
  }
}

TEST_SUITE("policies of a virtual host") {
  TEST_CASE("an alternate exchange comes and goes with its policy") {
    test::Broker broker;
    broker.declare(an_exchange("x", "direct"));
    broker.declare(an_exchange("ae", "fanout"));
    broker.declare(a_queue("q"));
    broker.bind(to_queue("ae", "q"));
    CHECK(broker.route("x", "k").empty());
    broker.vhost.set_policy(
        PolicyKind::user, policy("p", "^x", "all", 0, table({{"alternate-exchange", text("ae")}})));
    CHECK(broker.route("x", "k") == Names{"q"});
    broker.declare(an_exchange("x2", "direct"));
    CHECK(broker.route("x2", "k") == Names{"q"});
    broker.vhost.clear_policy(PolicyKind::user, "p");
    CHECK(broker.route("x", "k").empty());
    CHECK(broker.route("x2", "k").empty());
  }

  TEST_CASE("the default queue type is taken by queues that name none and can have it") {
    VirtualHost vhost("/");
    const auto type_of = [&vhost](QueueDefinition wanted) {
      const QueueDefinition typed = vhost.with_default_type(std::move(wanted));
      const Value* type = typed.arguments.find(kQueueTypeKey);
      return type == nullptr ? "none" : to_text(*type);
    };
    QueueDefinition durable = a_queue("q");
    durable.durable = true;
    CHECK(type_of(durable) == "none");
    vhost.set_default_queue_type("quorum");
    CHECK(type_of(durable) == "quorum");
    CHECK(type_of(a_queue("q")) == "none");  // not durable
    QueueDefinition auto_delete = durable;
    auto_delete.auto_delete = true;
    CHECK(type_of(auto_delete) == "none");
    QueueDefinition classic = durable;
    classic.arguments.set(kQueueTypeKey, text("classic"));
    CHECK(type_of(classic) == "classic");
  }

  TEST_CASE("redeclaring without a type is equivalent whatever type the queue was made with") {
    VirtualHost vhost("/");
    vhost.set_default_queue_type("quorum");
    QueueDefinition wanted = quorum_queue("quorum");
    vhost.add_queue(wanted);
    wanted.arguments = {};
    CHECK(verdict(vhost.check_declare(vhost.with_default_type(wanted), ConnectionId{})) == "ok");
    wanted.name = "classic";
    vhost.add_queue(wanted);
    CHECK(verdict(vhost.check_declare(vhost.with_default_type(wanted), ConnectionId{})) == "ok");
  }
}
