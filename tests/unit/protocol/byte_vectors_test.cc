#include <string>

#include <doctest/doctest.h>

#include "protocol/field_table.h"
#include "protocol/frame.h"
#include "protocol/method_codec.h"
#include "protocol/properties.h"
#include "tests/unit/protocol/octets.h"

// Frames as a RabbitMQ server sent them.

namespace harrier {

namespace {

template <class M>
std::string frame_hex(ChannelNumber channel, const M& method) {
  Buffer out;
  encode_method(channel, method, out);
  return to_hex(out.view());
}

std::string hex(std::string_view spaced) {
  return to_hex(from_hex(spaced));
}

}  // namespace

TEST_SUITE("byte vectors") {
  TEST_CASE("methods") {
    CHECK(frame_hex(0, ConnectionTune{2047, 131072, 60}) ==
          hex("01 0000 0000000c 000a001e 07ff 00020000 003c ce"));
    CHECK(frame_hex(0, ConnectionOpenOk{}) == hex("01 0000 00000005 000a0029 00 ce"));
    CHECK(frame_hex(1, ChannelOpenOk{}) == hex("01 0001 00000008 0014000b 00000000 ce"));
    CHECK(frame_hex(1, QueueDeclareOk{.queue = "vec"}) ==
          hex("01 0001 00000010 0032000b 03766563 00000000 00000000 ce"));
    CHECK(frame_hex(1, BasicGetOk{.delivery_tag = 1, .routing_key = "vec"}) ==
          hex("01 0001 00000016 003c0047 0000000000000001 00 00 03766563 00000000 ce"));
    CHECK(frame_hex(1, BasicGetEmpty{}) == hex("01 0001 00000005 003c0048 00 ce"));
    CHECK(frame_hex(1, ConfirmSelectOk{}) == hex("01 0001 00000004 0055000b ce"));
    CHECK(
        frame_hex(
            1, BasicReturn{.reply_code = 312, .reply_text = "NO_ROUTE", .routing_key = "nosuch"}) ==
        hex("01 0001 00000017 003c0032 0138 084e4f5f524f555445 00 066e6f73756368 ce"));
    CHECK(frame_hex(1, BasicAck{.delivery_tag = 1}) ==
          hex("01 0001 0000000d 003c0050 0000000000000001 00 ce"));
    const std::string text = "NOT_FOUND - no queue 'vec' in vhost '/'";
    CHECK(frame_hex(1, ChannelClose{404, text, 50, 10}) ==
          hex("01 0001 00000032 00140028 0194 27 " + to_hex(text) + " 0032 000a ce"));
  }

  TEST_CASE("connection.start begins with version and capabilities") {
    FieldTable properties;
    properties.set("capabilities", Value::table({}));
    Buffer fields;
    properties.encode_fields(fields);
    CHECK(frame_hex(0, ConnectionStart{.version_major = 0,
                                       .version_minor = 9,
                                       .server_properties = TableView{fields.view()},
                                       .mechanisms = "PLAIN",
                                       .locales = "en_US"}) ==
          hex("01 0000 0000002e 000a000a 0009 00000012 0c6361706162696c6974696573 46 00000000 "
              "00000005 504c41494e 00000005 656e5f5553 ce"));
  }

  TEST_CASE("content header with headers table, and body") {
    const std::string header =
        hex("02 0001 00000033 003c 0000 0000000000000002 b100 0a746578742f706c61696e "
            "0000000f 0162 74 01 016e 6c ffffffffffffffff 02 053630303030 ce");
    BasicProperties properties;
    properties.content_type = "text/plain";
    properties.headers.emplace();
    properties.headers->set("b", Value::boolean(true));
    properties.headers->set("n", Value::int64(-1));
    properties.delivery_mode = 2;
    properties.expiration = "60000";
    Buffer encoded;
    properties.encode(encoded);
    Buffer out;
    encode_header_frame(1, 2, encoded.view(), out);
    CHECK(to_hex(out.view()) == header);

    out.clear();
    encode_body_frames(1, "hi", 131072, out);
    CHECK(to_hex(out.view()) == hex("03 0001 00000002 6869 ce"));
  }

  TEST_CASE("an empty body is a header and no body frame") {
    Buffer out;
    encode_content(1, BasicReturn{.reply_code = 312, .reply_text = "NO_ROUTE"}, ByteView("\0\0", 2),
                   "", 131072, out);
    CHECK(to_hex(out.view()).ends_with(hex("02 0001 0000000e 003c 0000 0000000000000000 0000 ce")));
  }
}

}  // namespace harrier
