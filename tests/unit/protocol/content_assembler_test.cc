#include "protocol/content_assembler.h"

#include <string>

#include <doctest/doctest.h>

#include "protocol/constants.h"
#include "protocol/method_codec.h"
#include "tests/unit/protocol/octets.h"

namespace harrier {

namespace {

constexpr std::uint64_t kNoLimit = UINT64_MAX;

std::string header(std::uint64_t body_bytes, ByteView properties = ByteView("\0\0", 2)) {
  Buffer out;
  encode_header_frame(1, body_bytes, properties, out);
  return std::string(parse_frame(out.view(), 0).frame.payload);
}

std::string encoded(const BasicProperties& properties) {
  Buffer out;
  properties.encode(out);
  return std::string(out.view());
}

// The assembler of a channel on which basic.publish was just received.
struct Publishing {
  explicit Publishing(const BasicPublish& publish = {.exchange = "x", .routing_key = "k"}) {
    assembler.begin(publish);
  }

  void check_error(const Result<bool, ProtocolError>& result, std::string_view text) {
    REQUIRE_FALSE(result);
    CHECK(reply_text(result.error()) == text);
    CHECK(result.error().method == BasicPublish::kId);
  }

  ContentAssembler assembler;
};

constexpr const char* kNotAHeader =
    "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead";
constexpr const char* kNotABody =
    "UNEXPECTED_FRAME - expected content body, got non content body frame instead";

}  // namespace

TEST_SUITE("content assembler") {
  TEST_CASE("publish, header and one body frame make a message") {
    Publishing channel({.exchange = "x", .routing_key = "k", .mandatory = true});
    CHECK(channel.assembler.active());
    const std::string properties = encoded(
        {.delivery_mode = std::uint8_t{2}, .priority = std::uint8_t{4}, .expiration = "50"});
    CHECK(channel.assembler.on_header(header(5, properties), kNoLimit) == false);
    CHECK(channel.assembler.active());
    CHECK(channel.assembler.on_body("hello") == true);
    CHECK_FALSE(channel.assembler.active());

    const AssembledContent& content = channel.assembler.content();
    CHECK(content.exchange == "x");
    CHECK(content.routing_key == "k");
    CHECK(content.mandatory);
    CHECK_FALSE(content.immediate);
    CHECK_FALSE(content.oversize);
    CHECK(content.body_bytes == 5);
    CHECK(content.properties == properties);
    REQUIRE(content.message);
    CHECK(content.message->exchange() == "x");
    CHECK(content.message->routing_key() == "k");
    CHECK(content.message->properties() == properties);
    CHECK(content.message->body() == "hello");
    CHECK(content.message->persistent());
    CHECK(content.message->priority() == 4);
    CHECK(content.message->ttl_ms() == 50);
  }

  TEST_CASE("the parsed properties are views of the message, not of the frame") {
    Publishing channel;
    std::string frame = header(0, encoded({.content_type = "text/plain"}));
    CHECK(channel.assembler.on_header(frame, kNoLimit) == true);
    frame.assign(frame.size(), '?');
    const AssembledContent& content = channel.assembler.content();
    REQUIRE(content.properties_view);
    CHECK(content.properties_view->content_type == "text/plain");
  }

  TEST_CASE("an empty body is complete with its header") {
    Publishing channel;
    CHECK(channel.assembler.on_header(header(0), kNoLimit) == true);
    REQUIRE(channel.assembler.content().message);
    CHECK(channel.assembler.content().message->body().empty());
    CHECK(channel.assembler.content().message->ttl_ms() == -1);
  }

  TEST_CASE("a body may come in any pieces, empty ones too") {
    Publishing channel;
    CHECK(channel.assembler.on_header(header(5), kNoLimit) == false);
    for (const char* piece : {"", "he", "", "l", "l"}) {
      CHECK(channel.assembler.on_body(piece) == false);
    }
    CHECK(channel.assembler.on_body("o") == true);
    CHECK(channel.assembler.content().message->body() == "hello");
  }

  TEST_CASE("the next publish starts afresh") {
    Publishing channel({.exchange = "x", .routing_key = "k", .mandatory = true, .immediate = true});
    REQUIRE(channel.assembler.on_header(header(2), kNoLimit) == false);
    REQUIRE(channel.assembler.on_body("hi") == true);
    const MessageRef first = channel.assembler.content().message;
    channel.assembler.begin({.routing_key = "other"});
    REQUIRE(channel.assembler.on_header(header(0), kNoLimit) == true);
    CHECK(channel.assembler.content().exchange.empty());
    CHECK_FALSE(channel.assembler.content().mandatory);
    CHECK(channel.assembler.content().message->routing_key() == "other");
    CHECK(first->body() == "hi");
  }

  TEST_CASE("a large body is not allocated before it arrives") {
    Publishing channel;
    const std::uint64_t declared = std::uint64_t{5} << 20;
    const std::string properties = encoded({.message_id = "big", .type = "t"});
    REQUIRE(channel.assembler.on_header(header(declared, properties), kNoLimit) == false);
    CHECK(channel.assembler.content().message->footprint() <
          ContentAssembler::kEagerBodyBytes + 1000);

    std::string body(declared, '\0');
    for (std::size_t i = 0; i < body.size(); ++i)
      body[i] = static_cast<char>(i * 7 % 253);
    constexpr std::size_t kPiece = 131064;
    for (std::size_t at = 0; at < body.size(); at += kPiece) {
      const ByteView piece = ByteView(body).substr(at, kPiece);
      const auto complete = channel.assembler.on_body(piece);
      REQUIRE(complete);
      CHECK(*complete == (at + piece.size() == body.size()));
      const std::size_t held = channel.assembler.content().message->body().size();
      CHECK(held <= std::max(ContentAssembler::kEagerBodyBytes, 2 * (at + piece.size())));
    }
    const AssembledContent& content = channel.assembler.content();
    CHECK(content.message->body() == body);
    CHECK(content.message->properties() == properties);
    CHECK(content.properties == properties);
    CHECK(content.properties.data() == content.message->properties().data());
    CHECK(content.properties_view->message_id == "big");
  }

  TEST_CASE("one frame may outgrow the doubling") {
    Publishing channel;
    const std::string body(7 << 20, 'x');
    REQUIRE(channel.assembler.on_header(header(body.size()), kNoLimit) == false);
    CHECK(channel.assembler.on_body(body) == true);
    CHECK(channel.assembler.content().message->body() == body);
  }

  TEST_CASE("a body above the limit is read and thrown away") {
    Publishing channel;
    REQUIRE(channel.assembler.on_header(header(5), 4) == false);
    CHECK(channel.assembler.on_body("hel") == false);
    CHECK(channel.assembler.on_body("lo") == true);
    const AssembledContent& content = channel.assembler.content();
    CHECK(content.oversize);
    CHECK(content.body_bytes == 5);
    CHECK_FALSE(content.message);
    CHECK(content.exchange == "x");

    channel.assembler.begin({});
    REQUIRE(channel.assembler.on_header(header(4), 4) == false);
    REQUIRE(channel.assembler.on_body("four") == true);
    CHECK_FALSE(channel.assembler.content().oversize);
    CHECK(channel.assembler.content().message);
  }

  TEST_CASE("undecodable properties are found when the content is complete") {
    Publishing channel;
    REQUIRE(channel.assembler.on_header(header(2, from_hex("8000 05")), kNoLimit) == false);
    CHECK(channel.assembler.on_body("hi") == true);
    CHECK_FALSE(channel.assembler.content().properties_view);
    CHECK_FALSE(channel.assembler.content().message);
    CHECK_FALSE(channel.assembler.content().oversize);

    // Not even property flags, yet long enough to be a HEADER frame.
    channel.assembler.begin({});
    CHECK(channel.assembler.on_header(from_hex("003c 0000 0000000000000000"), kNoLimit) == true);
    CHECK_FALSE(channel.assembler.content().properties_view);
  }

  TEST_CASE("an expiration that is no number is left to the caller") {
    Publishing channel;
    REQUIRE(channel.assembler.on_header(header(0, encoded({.expiration = "10s"})), kNoLimit) ==
            true);
    CHECK(channel.assembler.content().message->ttl_ms() == -1);
    CHECK(channel.assembler.content().properties_view->expiration == "10s");
  }

  TEST_CASE("a content header must be one of class basic") {
    SUBCASE("another class") {
      Publishing channel;
      std::string payload = header(0);
      payload[1] = 50;
      channel.check_error(channel.assembler.on_header(payload, kNoLimit),
                          "UNEXPECTED_FRAME - expected content header for class 60, got one for "
                          "class 50 instead");
    }
    SUBCASE("a weight") {
      Publishing channel;
      std::string payload = header(0);
      payload[3] = 1;
      channel.check_error(channel.assembler.on_header(payload, kNoLimit), kNotAHeader);
    }
    SUBCASE("too short") {
      Publishing channel;
      channel.check_error(channel.assembler.on_header(header(0).substr(0, 11), kNoLimit),
                          kNotAHeader);
    }
  }

  TEST_CASE("a body size has a hard limit") {
    Publishing channel;
    CHECK(channel.assembler.on_header(header(536870912), 1) == false);
    Publishing other;
    other.check_error(other.assembler.on_header(header(536870913), 1),
                      "FRAME_ERROR - content body size 536870913 exceeds maximum allowed size "
                      "536870912");
    Publishing huge;
    huge.check_error(huge.assembler.on_header(header(UINT64_MAX), kNoLimit),
                     "FRAME_ERROR - content body size 18446744073709551615 exceeds maximum allowed "
                     "size 536870912");
  }

  TEST_CASE("a body longer than declared is refused") {
    Publishing channel;
    REQUIRE(channel.assembler.on_header(header(3), kNoLimit) == false);
    REQUIRE(channel.assembler.on_body("ab") == false);
    channel.check_error(channel.assembler.on_body("cd"),
                        "FRAME_ERROR - content body frame exceeds remaining content size");
  }

  TEST_CASE("frames out of sequence are refused with what was expected") {
    SUBCASE("body for header") {
      Publishing channel;
      channel.check_error(channel.assembler.on_body("x"), kNotAHeader);
    }
    SUBCASE("method for header") {
      Publishing channel;
      CHECK(reply_text(channel.assembler.unexpected()) == kNotAHeader);
    }
    SUBCASE("header for body") {
      Publishing channel;
      REQUIRE(channel.assembler.on_header(header(1), kNoLimit) == false);
      channel.check_error(channel.assembler.on_header(header(1), kNoLimit), kNotABody);
    }
    SUBCASE("method for body") {
      Publishing channel;
      REQUIRE(channel.assembler.on_header(header(1), kNoLimit) == false);
      CHECK(reply_text(channel.assembler.unexpected()) == kNotABody);
    }
    SUBCASE("content for method") {
      ContentAssembler assembler;
      for (const auto& result :
           {assembler.on_header(header(1), kNoLimit), assembler.on_body("x")}) {
        REQUIRE_FALSE(result);
        CHECK(reply_text(result.error()) ==
              "UNEXPECTED_FRAME - expected method frame, got non method frame instead");
        CHECK(result.error().method == MethodId{});
      }
    }
  }
}

}  // namespace harrier
