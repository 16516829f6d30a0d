#include "protocol/properties.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/unit/protocol/octets.h"

namespace harrier {

namespace {

std::string encoded(const BasicProperties& properties) {
  Buffer out;
  properties.encode(out);
  return std::string(out.view());
}

BasicProperties all_properties() {
  BasicProperties properties{.content_type = "text/plain",
                             .content_encoding = "gzip",
                             .headers = FieldTable(),
                             .delivery_mode = std::uint8_t{2},
                             .priority = std::uint8_t{9},
                             .correlation_id = "corr",
                             .reply_to = "reply",
                             .expiration = "60000",
                             .message_id = "id",
                             .timestamp = std::uint64_t{1} << 40,
                             .type = "type",
                             .user_id = "guest",
                             .app_id = "app",
                             .cluster_id = "cluster"};
  properties.headers->set("k", Value::int32(1));
  return properties;
}

}  // namespace

TEST_SUITE("basic properties") {
  TEST_CASE("every property has its flag") {
    struct Row {
      const char* name = "";
      BasicProperties properties{};
      const char* hex = "";
    };

    for (const Row& row : {
             Row{"none", {}, "0000"},
             Row{"content-type", {.content_type = "a"}, "8000 0161"},
             Row{"content-encoding", {.content_encoding = "a"}, "4000 0161"},
             Row{"headers", {.headers = FieldTable()}, "2000 00000000"},
             Row{"delivery-mode", {.delivery_mode = std::uint8_t{2}}, "1000 02"},
             Row{"priority", {.priority = std::uint8_t{5}}, "0800 05"},
             Row{"correlation-id", {.correlation_id = "a"}, "0400 0161"},
             Row{"reply-to", {.reply_to = "a"}, "0200 0161"},
             Row{"expiration", {.expiration = "a"}, "0100 0161"},
             Row{"message-id", {.message_id = "a"}, "0080 0161"},
             Row{"timestamp", {.timestamp = std::uint64_t{1}}, "0040 0000000000000001"},
             Row{"type", {.type = "a"}, "0020 0161"},
             Row{"user-id", {.user_id = "a"}, "0010 0161"},
             Row{"app-id", {.app_id = "a"}, "0008 0161"},
             Row{"cluster-id", {.cluster_id = "a"}, "0004 0161"},
             Row{"an empty one", {.content_type = ""}, "8000 00"},
         }) {
      CAPTURE(row.name);
      const std::string octets = from_hex(row.hex);
      CHECK(to_hex(encoded(row.properties)) == to_hex(octets));
      const auto view = parse_properties(octets);
      REQUIRE(view);
      Buffer again;
      view->encode(again);
      CHECK(again.view() == octets);
      CHECK(encoded(to_owned(*view)) == octets);
    }
  }

  TEST_CASE("all properties together keep their order") {
    const std::string octets = encoded(all_properties());
    const auto view = parse_properties(octets);
    REQUIRE(view);
    CHECK(view->content_type == "text/plain");
    CHECK(as_integer(*view->headers->find("k")) == 1);
    CHECK(view->persistent());
    CHECK(view->priority == 9);
    CHECK(view->expiration == "60000");
    CHECK(view->timestamp == std::uint64_t{1} << 40);
    CHECK(view->cluster_id == "cluster");
    CHECK(encoded(to_owned(*view)) == octets);
  }

  TEST_CASE("delivery-mode 2 alone is persistent") {
    for (const auto& [mode, persistent] :
         {std::pair{0, false}, {1, false}, {2, true}, {3, false}}) {
      BasicProperties properties;
      properties.delivery_mode = static_cast<std::uint8_t>(mode);
      CHECK(properties.persistent() == persistent);
    }
    CHECK_FALSE(BasicProperties().persistent());
  }

  TEST_CASE("the two lowest flag bits are ignored") {
    for (const char* hex : {"0001", "0002", "0003", "8001 0161"}) {
      CAPTURE(hex);
      CHECK(parse_properties(from_hex(hex)));
    }
  }

  TEST_CASE("octets missing, left over, or in a malformed table are refused") {
    const std::string octets = encoded(all_properties());
    for (std::size_t size = 0; size < octets.size(); ++size) {
      CAPTURE(size);
      CHECK_FALSE(parse_properties(ByteView(octets).substr(0, size)));
    }
    CHECK_FALSE(parse_properties(octets + "x"));
    CHECK_FALSE(parse_properties(from_hex("0000 00")));
    CHECK_FALSE(parse_properties(from_hex("2000 00000002 0055")));
    CHECK_FALSE(parse_properties(from_hex("2000 00000006 0066 7fc00000")));
    CHECK_FALSE(parse_properties(from_hex("2000 ffffffff")));
  }

  TEST_CASE("short strings need not be UTF-8") {
    CHECK(parse_properties(from_hex("8000 01ff")));
  }

  TEST_CASE("a rebased view reads the copy") {
    std::string octets = encoded(all_properties());
    const std::string copy = octets;
    PropertiesView moved = parse_properties(octets).value();
    rebase(moved, octets.data(), copy.data());
    octets.assign(octets.size(), '?');
    Buffer again;
    moved.encode(again);
    CHECK(again.view() == copy);
  }
}

TEST_SUITE("editing properties") {
  TEST_CASE("new headers leave all else as it was") {
    FieldTable headers;
    headers.set("x-death", Value::array({}));
    BasicProperties expected = all_properties();
    const Buffer edited = with_headers(encoded(expected), headers);
    expected.headers = headers;
    CHECK(edited.view() == encoded(expected));

    const Buffer added = with_headers(from_hex("1000 02"), headers);
    CHECK(added.view() == encoded({.headers = headers, .delivery_mode = std::uint8_t{2}}));
  }

  TEST_CASE("untouched headers keep their octets, even those we would write otherwise") {
    // A boolean of value 2 and the letter L.
    const std::string headers = from_hex("0162 74 02 016e 4c 0000000000000001");
    Buffer octets;
    PropertiesView view;
    view.headers = TableView{headers};
    view.reply_to = "old";
    view.encode(octets);
    const Buffer edited = with_reply_to(octets.view(), "amq.rabbitmq.reply-to.x");
    const auto parsed = parse_properties(edited.view());
    REQUIRE(parsed);
    CHECK(parsed->headers->octets == headers);
    CHECK(parsed->reply_to == "amq.rabbitmq.reply-to.x");
  }

  TEST_CASE("the expiration can be taken off") {
    BasicProperties expected = all_properties();
    const Buffer edited = without_expiration(encoded(expected));
    expected.expiration.reset();
    CHECK(edited.view() == encoded(expected));
    CHECK(without_expiration(from_hex("0000")).view() == from_hex("0000"));
  }
}

}  // namespace harrier
