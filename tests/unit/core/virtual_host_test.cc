#include "broker/core/virtual_host.h"

#include <doctest/doctest.h>

#include "broker/core/precheck.h"
#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

constexpr ConnectionId kOther{2};

const std::string default_refused =
    "ACCESS_REFUSED - operation not permitted on the default exchange";

std::string locked(const std::string& name) {
  return "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '" + name +
         "' in vhost '/'. It could be originally declared on another connection or the exclusive "
         "property value does not match that of the original declaration.";
}

QueueDefinition exclusive_queue(std::string_view name) {
  QueueDefinition made = a_queue(name);
  made.exclusive = true;
  return made;
}

ExchangeDefinition auto_delete_exchange(std::string_view name, std::string_view type = "fanout") {
  ExchangeDefinition made = an_exchange(name, type);
  made.auto_delete = true;
  return made;
}

ExchangeDefinition with_alternate(std::string_view name, std::string_view alternate) {
  return an_exchange(name, "direct", table({{"alternate-exchange", text(alternate)}}));
}

Names names_of(const std::vector<ExchangeDefinition>& exchanges) {
  Names names;
  for (const ExchangeDefinition& one : exchanges)
    names.push_back(one.name);
  return names;
}

}  // namespace

TEST_SUITE("exchange.declare") {
  TEST_CASE("RabbitMQ's exchanges are there from the start") {
    struct Row {
      const char* name;
      const char* type;
      bool internal;
    };

    Broker broker;
    std::size_t count = 0;
    broker.vhost.each_exchange([&count](Exchange&) { ++count; });
    CHECK(count == 7);
    for (const Row& row : {Row{"", "direct", false}, Row{"amq.direct", "direct", false},
                           Row{"amq.fanout", "fanout", false}, Row{"amq.topic", "topic", false},
                           Row{"amq.headers", "headers", false}, Row{"amq.match", "headers", false},
                           Row{"amq.rabbitmq.trace", "topic", true}}) {
      CAPTURE(std::string(row.name));
      const Exchange* found = broker.vhost.find_exchange(row.name);
      REQUIRE(found != nullptr);
      CHECK(found->definition().type == row.type);
      CHECK(found->definition().durable);
      CHECK_FALSE(found->definition().auto_delete);
      CHECK(found->definition().internal == row.internal);
    }
  }

  TEST_CASE(
      "what is wrong is told in the order type, default exchange, equivalence, reserved name") {
    Broker broker;
    CHECK(broker.declare(an_exchange("x", "direct")) == "ok");
    CHECK(broker.declare(an_exchange("x", "direct")) == "ok");
    CHECK(broker.declare(an_exchange("", "nonsense")) ==
          "PRECONDITION_FAILED - unknown exchange type 'nonsense'");
    CHECK(broker.declare(an_exchange("", "direct")) == default_refused);
    CHECK(broker.declare(an_exchange("x", "fanout")) ==
          "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': received "
          "'fanout' but current is 'direct'");
    CHECK(broker.declare(an_exchange("amq.foo", "direct")) ==
          "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'");
    CHECK(broker.declare(an_exchange("y", "direct", table({{"alternate-exchange", number(1)}}))) ==
          "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange "
          "'y' in vhost '/'");
    ExchangeDefinition predeclared = an_exchange("amq.direct", "direct");
    predeclared.durable = true;
    CHECK(broker.declare(predeclared) == "ok");
    CHECK(verdict(broker.vhost.require_exchange("x")) == "ok");
    CHECK(verdict(broker.vhost.require_exchange("z")) ==
          "NOT_FOUND - no exchange 'z' in vhost '/'");
    CHECK(verdict(precheck_not_default("")) == default_refused);
  }
}

TEST_SUITE("exchange.delete") {
  TEST_CASE("the server's own exchanges stay, even those that never were") {
    Broker broker;
    const auto check = [&broker](std::string_view name, bool if_unused = false) {
      return verdict(broker.vhost.check_delete_exchange(name, if_unused));
    };
    CHECK(check("") == default_refused);
    CHECK(check("amq.topic") ==
          "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed");
    CHECK(check("amq.nope") ==
          "ACCESS_REFUSED - deletion of system exchange 'amq.nope' in vhost '/' not allowed");
    CHECK(check("nope") == "ok");
    CHECK(broker.vhost.check_delete_exchange("nope", true).value() == nullptr);
  }

  TEST_CASE("an exchange with bindings as a source is in use; as a destination it is not") {
    Broker broker;
    broker.declare(an_exchange("from", "fanout"));
    broker.declare(an_exchange("to", "fanout"));
    broker.bind(to_exchange("from", "to"));
    CHECK(verdict(broker.vhost.check_delete_exchange("from", true)) ==
          "PRECONDITION_FAILED - exchange 'from' in vhost '/' in use");
    CHECK(verdict(broker.vhost.check_delete_exchange("from", false)) == "ok");
    CHECK(verdict(broker.vhost.check_delete_exchange("to", true)) == "ok");
  }

  TEST_CASE("all its bindings go with it, from it and to it") {
    Broker broker;
    for (const std::string name : {"a", "b", "c"})
      broker.declare(an_exchange(name, "fanout"));
    broker.declare(a_queue("q"));
    broker.bind(to_exchange("a", "b"));
    broker.bind(to_exchange("b", "c"));
    broker.bind(to_exchange("b", "b"));
    broker.bind(to_queue("b", "q"));
    const Removed removed = broker.vhost.remove_exchange("b");
    CHECK(removed.bindings.size() == 4);
    CHECK(removed.exchanges.empty());
    CHECK(broker.vhost.find_exchange("a")->binding_count() == 0);
    broker.vhost.check_invariants();
    CHECK(broker.route("a", "") == Names{});
    CHECK(broker.vhost.remove_exchange("b").bindings.empty());
  }
}

TEST_SUITE("queue.declare") {
  TEST_CASE("exclusivity is strict and comes before everything else") {
    Broker broker;
    CHECK(broker.declare(exclusive_queue("mine")) == "ok");
    CHECK(broker.declare(exclusive_queue("mine")) == "ok");
    CHECK(broker.declare(exclusive_queue("mine"), kOther) == locked("mine"));
    CHECK(broker.declare(a_queue("mine")) == locked("mine"));
    QueueDefinition different = a_queue("mine");
    different.auto_delete = true;
    CHECK(broker.declare(different, kOther) == locked("mine"));
    CHECK(broker.declare(a_queue("shared")) == "ok");
    CHECK(broker.declare(exclusive_queue("shared")) == locked("shared"));
    CHECK(broker.declare(a_queue("shared"), kOther) == "ok");
  }

  TEST_CASE("an exclusive queue asked for as durable is the same as one that is not") {
    Broker broker;
    QueueDefinition durable = exclusive_queue("q");
    durable.durable = true;
    CHECK(broker.declare(durable) == "ok");
    CHECK(broker.declare(exclusive_queue("q")) == "ok");
    CHECK(broker.declare(durable) == "ok");
  }

  TEST_CASE("values are validated when the queue is new and compared when it is not") {
    Broker broker;
    CHECK(broker.declare(a_queue("q", table({{"x-expires", number(0)}}))) ==
          "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q' in vhost '/': "
          "{value_zero,0}");
    CHECK(broker.declare(a_queue("q")) == "ok");
    CHECK(broker.declare(a_queue("q", table({{"x-expires", number(0)}}))) ==
          "PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'q' in vhost '/': received "
          "the value '0' of type 'signedint' but current is none");
  }

  TEST_CASE("amq. names are refused to clients, though the server gives them") {
    CHECK(verdict(precheck_declare_queue("amq.foo")) ==
          "ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'");
    CHECK(verdict(precheck_declare_queue("foo")) == "ok");
    Broker broker;
    CHECK(broker.declare(a_queue("amq.gen-x")) == "ok");
  }

  TEST_CASE("use by name needs the queue and, if exclusive, its connection") {
    Broker broker;
    broker.declare(exclusive_queue("q"));
    CHECK(verdict(broker.vhost.require_queue("nope", Broker::kConnection)) ==
          "NOT_FOUND - no queue 'nope' in vhost '/'");
    CHECK(verdict(broker.vhost.require_queue("q", Broker::kConnection)) == "ok");
    CHECK(verdict(broker.vhost.require_queue("q", kOther)) == locked("q"));
  }

  TEST_CASE("a handle that somebody holds outlives its queue and says so") {
    Broker broker;
    broker.declare(a_queue("q"));
    const QueueRef held(broker.vhost.find_queue("q"));
    broker.vhost.remove_queue(held->name());
    CHECK(held->deleted());
    CHECK(held->name() == "q");
    CHECK(broker.vhost.find_queue("q") == nullptr);
    CHECK(broker.vhost.queue_count() == 0);
  }
}

TEST_SUITE("bind and unbind") {
  TEST_CASE("what is missing is told in order, the source first") {
    Broker broker;
    broker.declare(an_exchange("x", "headers"));
    broker.declare(exclusive_queue("theirs"), kOther);
    broker.declare(a_queue("q"));
    CHECK(broker.bind(to_queue("", "nope")) == default_refused);
    CHECK(broker.bind(to_exchange("nope", "")) == default_refused);
    CHECK(broker.bind(to_queue("nope", "nope")) == "NOT_FOUND - no exchange 'nope' in vhost '/'");
    CHECK(broker.bind(to_queue("x", "nope")) == "NOT_FOUND - no queue 'nope' in vhost '/'");
    CHECK(broker.bind(to_exchange("x", "nope")) == "NOT_FOUND - no exchange 'nope' in vhost '/'");
    // Type validation before exclusivity.
    CHECK(broker.bind(to_queue("x", "theirs", "", table({{"x-match", text("foo")}})))
              .starts_with("PRECONDITION_FAILED - Invalid x-match"));
    CHECK(broker.bind(to_queue("x", "theirs")) == locked("theirs"));
    CHECK(broker.bind(to_queue("x", "theirs"), kOther) == "ok");
    CHECK(broker.bind(to_queue("x", "q")) == "ok");
    broker.vhost.check_invariants();
  }

  TEST_CASE("unbinding what is not there succeeds") {
    Broker broker;
    broker.declare(an_exchange("x", "direct"));
    broker.declare(exclusive_queue("theirs"), kOther);
    CHECK(broker.unbind(to_queue("nope", "nope")) == "ok");
    CHECK(broker.unbind(to_queue("x", "nope")) == "ok");
    CHECK(broker.unbind(to_queue("x", "theirs", "k")) == "ok");
    CHECK(broker.unbind(to_queue("", "q")) == default_refused);
    broker.bind(to_queue("x", "theirs", "k"), kOther);
    CHECK(broker.unbind(to_queue("x", "theirs", "k")) == locked("theirs"));
    CHECK(broker.unbind(to_queue("x", "theirs", "k"), kOther) == "ok");
  }

  TEST_CASE("a binding is known by source, destination, key and arguments with their types") {
    Broker broker;
    broker.declare(an_exchange("x", "direct"));
    broker.declare(an_exchange("q", "direct"));
    broker.declare(a_queue("q"));
    const std::vector<BindingDefinition> different = {
        to_queue("x", "q", "k"),
        to_queue("x", "q", "k2"),
        to_queue("x", "q", "k", table({{"a", number(1)}})),
        to_queue("x", "q", "k", table({{"a", Value::int64(1)}})),
        to_queue("x", "q", "k", table({{"a", number(1)}, {"b", number(2)}})),
        to_exchange("x", "q", "k"),
    };
    for (const BindingDefinition& binding : different)
      CHECK(broker.bind(binding) == "ok");
    CHECK(broker.vhost.find_exchange("x")->binding_count() == different.size());
    for (const BindingDefinition& binding : different)
      CHECK(broker.bind(binding) == "ok");
    broker.bind(to_queue("x", "q", "k", table({{"b", number(2)}, {"a", number(1)}})));
    CHECK(broker.vhost.find_exchange("x")->binding_count() == different.size());
    CHECK(broker.route("x", "k") == Names{"q"});
    std::size_t left = different.size();
    for (const BindingDefinition& binding : different) {
      broker.unbind(binding);
      CHECK(broker.vhost.find_exchange("x")->binding_count() == --left);
      broker.vhost.check_invariants();
    }
    CHECK(broker.route("x", "k") == Names{});
  }

  TEST_CASE("direct reply-to queues cannot be bound") {
    CHECK(verdict(precheck_bind_queue("amq.rabbitmq.reply-to.abc")) ==
          "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue");
    CHECK(verdict(precheck_bind_queue("amq.rabbitmq.reply-to")) == "ok");
  }

  TEST_CASE("a binding is durable when both its ends are") {
    Broker broker;
    ExchangeDefinition durable_exchange = an_exchange("dx", "direct");
    durable_exchange.durable = true;
    QueueDefinition durable_queue = a_queue("dq");
    durable_queue.durable = true;
    broker.declare(durable_exchange);
    broker.declare(durable_queue);
    broker.declare(an_exchange("tx", "direct"));
    broker.declare(a_queue("tq"));
    CHECK(broker.vhost.is_durable(to_queue("dx", "dq")));
    CHECK_FALSE(broker.vhost.is_durable(to_queue("dx", "tq")));
    CHECK_FALSE(broker.vhost.is_durable(to_queue("tx", "dq")));
    CHECK(broker.vhost.is_durable(to_exchange("dx", "amq.topic")));
    CHECK_FALSE(broker.vhost.is_durable(to_exchange("dx", "tx")));
    CHECK_FALSE(broker.vhost.is_durable(to_queue("dx", "nope")));
  }

  TEST_CASE("the bindings that end at a queue can be listed") {
    Broker broker;
    broker.declare(a_queue("q"));
    broker.bind(to_queue("amq.topic", "q", "a"));
    broker.bind(to_queue("amq.direct", "q", "b"));
    broker.bind(to_exchange("amq.topic", "amq.direct", "c"));
    Names keys;
    broker.vhost.each_binding_to(DestinationKind::queue, "q",
                                 [&keys](const auto& one) { keys.push_back(one.routing_key); });
    CHECK(keys == Names{"a", "b"});
    std::size_t all = 0;
    broker.vhost.each_binding([&all](const auto&) { ++all; });
    CHECK(all == 3);
  }
}

TEST_SUITE("auto-delete exchanges") {
  TEST_CASE("stay until they have lost their last binding as a source") {
    Broker broker;
    broker.declare(auto_delete_exchange("x"));
    broker.declare(a_queue("q"));
    CHECK(broker.has_exchange("x"));
    broker.bind(to_exchange("amq.fanout", "x"));
    broker.unbind(to_exchange("amq.fanout", "x"));
    CHECK(broker.has_exchange("x"));  // being a destination does not count
    broker.bind(to_queue("x", "q", "1"));
    broker.bind(to_queue("x", "q", "2"));
    broker.unbind(to_queue("x", "q", "1"));
    CHECK(broker.has_exchange("x"));
    broker.unbind(to_queue("x", "q", "2"));
    CHECK_FALSE(broker.has_exchange("x"));
    CHECK(names_of(broker.removed.exchanges) == Names{"x"});
    CHECK(broker.removed.bindings.empty());
  }

  TEST_CASE("go with the queue they lead to, and take those before them along") {
    Broker broker;
    broker.declare(auto_delete_exchange("first"));
    broker.declare(auto_delete_exchange("second"));
    broker.declare(an_exchange("stays", "fanout"));
    broker.declare(a_queue("q"));
    broker.bind(to_exchange("stays", "first"));
    broker.bind(to_exchange("first", "second"));
    broker.bind(to_queue("second", "q"));
    const Removed removed = broker.vhost.remove_queue("q");
    CHECK(names_of(removed.exchanges) == Names{"second", "first"});
    CHECK(removed.bindings.size() == 3);
    CHECK(broker.has_exchange("stays"));
    broker.vhost.check_invariants();
  }

  TEST_CASE("go with the exchange they lead to, also in a circle") {
    Broker broker;
    for (const std::string name : {"a", "b", "c"})
      broker.declare(auto_delete_exchange(name));
    broker.bind(to_exchange("a", "b"));
    broker.bind(to_exchange("b", "c"));
    broker.bind(to_exchange("c", "a"));
    broker.bind(to_exchange("c", "c"));
    const Removed removed = broker.vhost.remove_exchange("b");
    CHECK(names_of(removed.exchanges) == Names{"a"});
    CHECK(broker.has_exchange("c"));  // still bound to itself
    CHECK(removed.bindings.size() == 3);
    broker.vhost.check_invariants();
    broker.unbind(to_exchange("c", "c"));
    CHECK_FALSE(broker.has_exchange("c"));
    broker.vhost.check_invariants();
  }
}

TEST_SUITE("routing") {
  TEST_CASE("the default exchange knows every queue by name") {
    Broker broker;
    broker.declare(a_queue("q"));
    CHECK(broker.route("", "q") == Names{"q"});
    CHECK(broker.route("", "nope") == Names{});
    CHECK(broker.route_keys("", {"nope", "q", "q"}) == Names{"q"});
    CHECK(broker.vhost.find_exchange("")->binding_count() == 0);
    broker.vhost.remove_queue("q");
    CHECK(broker.route("", "q") == Names{});
  }

  TEST_CASE("a queue gets one copy however many ways lead to it") {
    Broker broker;
    broker.declare(an_exchange("a", "topic"));
    broker.declare(an_exchange("b", "fanout"));
    broker.declare(a_queue("q"));
    for (const std::string pattern : {"#", "k", "*"})
      broker.bind(to_queue("a", "q", pattern));
    broker.bind(to_exchange("a", "b", "k"));
    broker.bind(to_queue("b", "q"));
    CHECK(broker.route_keys("a", {"k", "k2"}) == Names{"q"});
  }

  TEST_CASE("exchanges bound in a circle ask each other once") {
    Broker broker;
    for (const std::string name : {"a", "b"}) {
      broker.declare(an_exchange(name, "fanout"));
      broker.declare(a_queue(name));
    }
    broker.bind(to_exchange("a", "a"));
    broker.bind(to_exchange("a", "b"));
    broker.bind(to_exchange("b", "a"));
    broker.bind(to_queue("a", "a"));
    broker.bind(to_queue("b", "b"));
    CHECK(broker.route("a", "") == Names{"a", "b"});
    CHECK(broker.route("b", "") == Names{"a", "b"});
  }

  TEST_CASE("the alternate exchange is asked when nothing at all was chosen") {
    Broker broker;
    broker.declare(a_queue("q"));
    broker.declare(a_queue("last"));
    broker.declare(with_alternate("x", "ae"));
    broker.bind(to_queue("x", "q", "k"));
    CHECK(broker.route("x", "other") == Names{});  // a missing one is as none
    broker.declare(with_alternate("ae", "ae2"));
    broker.declare(an_exchange("ae2", "fanout"));
    broker.bind(to_queue("ae2", "last"));
    CHECK(broker.route("x", "k") == Names{"q"});
    CHECK(broker.route("x", "other") == Names{"last"});
  }

  TEST_CASE("a binding to an exchange that finds nothing still counts as a choice") {
    Broker broker;
    broker.declare(a_queue("q"));
    broker.declare(an_exchange("ae", "fanout"));
    broker.bind(to_queue("ae", "q"));
    broker.declare(with_alternate("x", "ae"));
    broker.declare(an_exchange("empty", "direct"));
    broker.bind(to_exchange("x", "empty", "k"));
    CHECK(broker.route("x", "k") == Names{});
    CHECK(broker.route("x", "other") == Names{"q"});
    // The destination's own alternate exchange is consulted.
    broker.declare(with_alternate("empty2", "ae"));
    broker.bind(to_exchange("x", "empty2", "k2"));
    CHECK(broker.route("x", "k2") == Names{"q"});
  }

  TEST_CASE("alternate exchanges in a circle end") {
    Broker broker;
    broker.declare(with_alternate("a", "b"));
    broker.declare(with_alternate("b", "a"));
    broker.declare(with_alternate("self", "self"));
    CHECK(broker.route("a", "k") == Names{});
    CHECK(broker.route("self", "k") == Names{});
  }
}
