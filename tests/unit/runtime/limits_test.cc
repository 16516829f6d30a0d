#include "broker/runtime/limits.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "protocol/reply_code.h"

using namespace harrier;

namespace {

LimitDefinition of_vhost(std::string name, std::int64_t value) {
  return {LimitScope::vhost, "v", std::move(name), value};
}

LimitDefinition of_user(std::string name, std::int64_t value) {
  return {LimitScope::user, "u", std::move(name), value};
}

template <class T>
std::string verdict(const Result<T, ProtocolError>& result) {
  return result ? "ok" : reply_text(result.error());
}

}  // namespace

TEST_SUITE("limits") {
  TEST_CASE("virtual hosts and users have two limits each") {
    CHECK(verdict(Limits::validate(of_vhost("max-connections", 1))) == "ok");
    CHECK(verdict(Limits::validate(of_vhost("max-queues", -1))) == "ok");
    CHECK(verdict(Limits::validate(of_user("max-connections", 1))) == "ok");
    CHECK(verdict(Limits::validate(of_user("max-channels", 1))) == "ok");
    CHECK(verdict(Limits::validate(of_vhost("max-channels", 5))) ==
          "PRECONDITION_FAILED - Unrecognised terms [{<<\"max-channels\">>,5}] in limits");
    CHECK(verdict(Limits::validate(of_user("max-queues", 5))) ==
          "PRECONDITION_FAILED - Unrecognised terms [{<<\"max-queues\">>,5}] in user-limits");
  }

  TEST_CASE("a virtual host takes as many connections as its limit says, and as many as leave") {
    Limits limits;
    const std::string full =
        "NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is reached";
    limits.set(of_vhost("max-connections", 1));
    auto first = limits.admit("v", "u");
    REQUIRE(first);
    CHECK(verdict(limits.admit("v", "u")) == full);
    CHECK(verdict(limits.admit("other", "u")) == "ok");
    *first = ConnectionPermit();
    CHECK(verdict(limits.admit("v", "u")) == "ok");
    limits.set(of_vhost("max-connections", 0));
    CHECK(verdict(limits.admit("v", "u")).ends_with("connection limit (0) is reached"));
    limits.set(of_vhost("max-connections", -1));
    CHECK(verdict(limits.admit("v", "u")) == "ok");
  }

  TEST_CASE("a limit that is set later counts what is there; cleared, it is gone") {
    Limits limits;
    const auto there = limits.admit("v", "u");
    limits.set(of_user("max-connections", 1));
    CHECK(verdict(limits.admit("w", "u")) ==
          "NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached");
    CHECK(verdict(limits.admit("w", "other")) == "ok");
    limits.set(of_vhost("max-connections", 1));
    CHECK(verdict(limits.admit("v", "u")).find("access to vhost 'v'") != std::string::npos);
    CHECK(limits.clear(of_vhost("max-connections", 0)));
    CHECK(limits.clear(of_user("max-connections", 0)));
    CHECK_FALSE(limits.clear(of_user("max-connections", 0)));
    CHECK(verdict(limits.admit("v", "u")) == "ok");
  }

  TEST_CASE("channels of a user are counted over its connections") {
    Limits limits;
    auto one = limits.admit("v", "u");
    auto two = limits.admit("v", "u");
    REQUIRE(one);
    REQUIRE(two);
    CHECK_FALSE(one->open_channel());
    limits.set(of_user("max-channels", 2));
    CHECK_FALSE(two->open_channel());
    CHECK(two->open_channel() == 2);
    one->close_channel();
    CHECK_FALSE(two->open_channel());
    CHECK(one->open_channel() == 2);
    *two = ConnectionPermit();  // with its two channels
    CHECK_FALSE(one->open_channel());
    CHECK_FALSE(one->open_channel());
    CHECK(one->open_channel() == 2);
    limits.clear(of_user("max-channels", 0));
    CHECK_FALSE(one->open_channel());
  }

  TEST_CASE("a channel limit that was there before the first connection holds") {
    Limits limits;
    limits.set(of_user("max-channels", 0));
    CHECK(limits.admit("v", "u")->open_channel() == 0);
  }

  TEST_CASE("queues are counted with those that are to come") {
    Limits limits;
    CHECK(verdict(limits.check_queues("v", "q", 1000, 2)) == "ok");
    limits.set(of_vhost("max-queues", 2));
    CHECK(verdict(limits.check_queues("v", "q", 0, 2)) == "ok");
    CHECK(
        verdict(limits.check_queues("v", "q", 1, 2)) ==
        "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost 'v' (2) is reached");
    CHECK(verdict(limits.check_queues("other", "q", 9, 1)) == "ok");
  }

  TEST_CASE("they are listed in order") {
    Limits limits;
    limits.set(of_user("max-channels", 1));
    limits.set(of_vhost("max-queues", 2));
    limits.set(of_vhost("max-connections", 3));
    std::vector<std::string> listed;
    limits.each([&](const LimitDefinition& limit) {
      listed.push_back(limit.subject + " " + limit.name + " " + std::to_string(limit.value));
    });
    CHECK(listed ==
          std::vector<std::string>{"v max-connections 3", "v max-queues 2", "u max-channels 1"});
  }
}
