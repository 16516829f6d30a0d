#include "broker/core/resource_names.h"

#include <set>
#include <string>

#include <doctest/doctest.h>

using namespace harrier;

TEST_SUITE("resource names") {
  TEST_CASE("a resource is shown with its kind, name and virtual host") {
    CHECK(queue_text("q", "/") == "queue 'q' in vhost '/'");
    CHECK(exchange_text("x", "v2") == "exchange 'x' in vhost 'v2'");
    CHECK(exchange_text("", "/") == "exchange '' in vhost '/'");
    CHECK(queue_text("it's", "/") == "queue 'it's' in vhost '/'");
  }

  TEST_CASE("CR and LF are dropped from a declared name, everything else stays") {
    CHECK(strip_cr_lf("a\r\nb\n") == "ab");
    CHECK(strip_cr_lf("  \t") == "  \t");
    CHECK(strip_cr_lf("\n") == "");
    CHECK(has_cr_lf("a\r"));
    CHECK_FALSE(has_cr_lf("ab"));
  }

  TEST_CASE("names that start with amq. are reserved") {
    CHECK(is_reserved("amq.foo"));
    CHECK(is_reserved("amq."));
    CHECK_FALSE(is_reserved("amq"));
    CHECK_FALSE(is_reserved("AMQ.foo"));
    CHECK_FALSE(is_reserved("x.amq."));
  }

  TEST_CASE("direct reply-to is one name and all names made from it") {
    CHECK(is_reply_to("amq.rabbitmq.reply-to"));
    CHECK(is_reply_to("amq.rabbitmq.reply-to.g1h2"));
    CHECK_FALSE(is_reply_to("amq.rabbitmq.reply-tox"));
    CHECK_FALSE(is_reply_to("amq.rabbitmq.reply"));
    CHECK(is_reply_to_queue("amq.rabbitmq.reply-to.g1h2"));
    CHECK_FALSE(is_reply_to_queue("amq.rabbitmq.reply-to"));
  }

  TEST_CASE("a server-given name is its prefix and 22 base64url characters of 16 octets") {
    NameRandom random{};
    CHECK(server_named_queue(random) == "amq.gen-AAAAAAAAAAAAAAAAAAAAAA");
    random.fill(0xFF);
    CHECK(server_named_queue(random) == "amq.gen-_____________________w");
    for (std::size_t i = 0; i < random.size(); ++i)
      random[i] = static_cast<std::uint8_t>(i);
    CHECK(server_named_consumer_tag(random) == "amq.ctag-AAECAwQFBgcICQoLDA0ODw");
  }

  TEST_CASE("every one of the 128 random bits shows in the name") {
    std::set<std::string> names;
    for (std::size_t bit = 0; bit < 128; ++bit) {
      NameRandom random{};
      random[bit / 8] = static_cast<std::uint8_t>(1U << (bit % 8));
      names.insert(server_named_queue(random));
    }
    CHECK(names.size() == 128);
  }
}
