#include "broker/core/death.h"

#include <optional>
#include <string>

#include <doctest/doctest.h>

#include "protocol/properties.h"

using namespace harrier;

namespace {

constexpr Timestamp kNoon{Milliseconds(1'000'500)};

MessageRef published(BasicProperties properties = {}) {
  Buffer octets;
  properties.encode(octets);
  MessageParts parts;
  parts.exchange = "x";
  parts.routing_key = "k";
  parts.properties = octets.view();
  parts.ttl_ms = properties.expiration ? 5 : -1;
  return Message::create(parts, "body");
}

FieldTable headers_of(const Message& message) {
  return parse_properties(message.properties())->headers->to_owned();
}

std::string deaths_of(const Message& message) {
  return to_text(*headers_of(message).find("x-death"));
}

MessageRef die(const MessageRef& message, std::string_view queue, DeathReason reason,
               Timestamp at = kNoon) {
  return dead_copy(*message, {queue, reason, at}, {"dlx", std::nullopt});
}

}  // namespace

TEST_SUITE("death") {
  TEST_CASE("the copy has a new address and tells where it comes from") {
    const MessageRef dead =
        dead_copy(*published(), {"q", DeathReason::maxlen, kNoon}, {"dlx", std::string("new")});
    CHECK(dead->exchange() == "dlx");
    CHECK(dead->routing_key() == "new");
    CHECK(dead->body() == "body");
    CHECK(deaths_of(*dead) ==
          "[{count=1, reason=maxlen, queue=q, time=1000, exchange=x, routing-keys=[k]}]");
    CHECK(*headers_of(*dead).find("x-first-death-queue") == Value::long_string("q"));
    CHECK(*headers_of(*dead).find("x-last-death-exchange") == Value::long_string("x"));
  }

  TEST_CASE("the expiration is in the history and nowhere else") {
    BasicProperties properties;
    properties.expiration = "5";
    properties.priority = std::uint8_t{3};
    const MessageRef dead = die(published(properties), "q", DeathReason::expired);
    CHECK(dead->ttl_ms() == -1);
    const auto view = parse_properties(dead->properties());
    CHECK_FALSE(view->expiration);
    CHECK(view->priority == 3);
    CHECK(deaths_of(*dead).find("original-expiration=5") != std::string::npos);
  }

  TEST_CASE("the same death again counts and goes to the front with its first time") {
    MessageRef dead = die(published(), "a", DeathReason::rejected);
    dead = die(dead, "b", DeathReason::expired);
    dead = die(dead, "a", DeathReason::rejected, kNoon + Milliseconds(60'000));
    CHECK(deaths_of(*dead) ==
          "[{count=2, reason=rejected, queue=a, time=1000, exchange=x, routing-keys=[k]}, "
          "{count=1, reason=expired, queue=b, time=1000, exchange=dlx, routing-keys=[k]}]");
    CHECK(*headers_of(*dead).find("x-first-death-queue") == Value::long_string("a"));
    CHECK(*headers_of(*dead).find("x-last-death-exchange") == Value::long_string("dlx"));
  }

  TEST_CASE("a history that is not a broker's is replaced, whatever it holds") {
    for (const Value& sent : {Value::int32(5), Value::array({{Value::int32(1)}}),
                              Value::array({{Value::table(FieldTable())}})}) {
      BasicProperties properties;
      properties.headers.emplace().set("x-death", sent);
      const MessageRef dead = die(published(properties), "q", DeathReason::expired);
      CHECK(deaths_of(*dead).find("[{count=1, reason=expired, queue=q") == 0);
    }
  }

  TEST_CASE("a message runs in circles where it died and was not rejected since") {
    using Reason = DeathReason;
    const MessageRef once = die(published(), "a", Reason::expired);
    CHECK(runs_in_circles(*once, "a"));
    CHECK_FALSE(runs_in_circles(*once, "b"));
    const MessageRef twice = die(once, "b", Reason::delivery_limit);
    CHECK(runs_in_circles(*twice, "a"));
    CHECK_FALSE(runs_in_circles(*die(once, "b", Reason::rejected), "a"));
    // Rejected before it died there: that is no help.
    CHECK(runs_in_circles(*die(die(published(), "a", Reason::rejected), "b", Reason::maxlen), "b"));
  }
}
