#include "protocol/frame.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/unit/protocol/octets.h"

namespace harrier {

namespace {

constexpr std::uint32_t kFrameMax = 4096;

std::string frame_octets(std::uint8_t type, ChannelNumber channel, ByteView payload,
                         std::uint8_t end = kFrameEnd) {
  Buffer out;
  WireWriter writer(out, kFrameOverhead + payload.size());
  write_frame_header(writer, static_cast<FrameType>(type), channel, payload.size());
  writer.octets(payload);
  writer.u8(end);
  return std::string(out.view());
}

std::string error_of(const std::string& input, std::uint32_t frame_max = kFrameMax) {
  const FrameParse parse = parse_frame(input, frame_max);
  REQUIRE(parse.status == FrameStatus::error);
  CHECK(parse.consumed == 0);
  const ProtocolError error = frame_error(parse, frame_max);
  CHECK(error.code == ReplyCode::frame_error);
  CHECK(error.method == MethodId{});
  return reply_text(error);
}

}  // namespace

TEST_SUITE("frame parser") {
  TEST_CASE("a frame is complete with its last octet and not before") {
    const std::string input = frame_octets(3, 258, "hello") + "next";
    const std::size_t frame_bytes = kFrameOverhead + 5;
    for (std::size_t size = 0; size < frame_bytes; ++size) {
      CAPTURE(size);
      const FrameParse parse = parse_frame(ByteView(input).substr(0, size), kFrameMax);
      CHECK(parse.status == FrameStatus::need_more);
      CHECK(parse.needed == (size < kFrameHeaderBytes ? kFrameHeaderBytes : frame_bytes));
    }
    const FrameParse parse = parse_frame(input, kFrameMax);
    REQUIRE(parse.status == FrameStatus::complete);
    CHECK(parse.frame.type == FrameType::body);
    CHECK(parse.frame.channel == 258);
    CHECK(parse.frame.payload == "hello");
    CHECK(parse.consumed == frame_bytes);
  }

  TEST_CASE("payloads up to frame_max pass, eight octets more than what is sent") {
    CHECK(parse_frame(frame_octets(3, 1, std::string(kFrameMax, 'x')), kFrameMax).status ==
          FrameStatus::complete);
    CHECK(error_of(frame_octets(3, 1, std::string(kFrameMax + 1, 'x'))) ==
          "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}");
  }

  TEST_CASE("a frame too large is refused as soon as its header is there") {
    CHECK(error_of(from_hex("01 0000 00020001"), 131072) ==
          "FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,131073,131064}");
    CHECK(parse_frame(from_hex("01 0000 000200"), 131072).status == FrameStatus::need_more);
  }

  TEST_CASE("frame_max 0 is unlimited up to the largest body") {
    CHECK(parse_frame(from_hex("03 0001 20000000"), 0).status == FrameStatus::need_more);
    CHECK(error_of(from_hex("03 0001 20000001"), 0) ==
          "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,536870913,536870904}");
  }

  TEST_CASE("a wrong frame end is shown with up to sixteen octets of the payload") {
    CHECK(error_of(frame_octets(1, 1, "abcd", 0)) ==
          "FRAME_ERROR - type 1, all octets = <<\"abcd\">>: {invalid_frame_end_marker,0}");
    CHECK(error_of(frame_octets(3, 1, "0123456789abcdef", 205)) ==
          "FRAME_ERROR - type 3, all octets = <<\"0123456789abcdef\">>: "
          "{invalid_frame_end_marker,205}");
    CHECK(error_of(frame_octets(3, 1, "0123456789abcdefg", 205)) ==
          "FRAME_ERROR - type 3, first 16 octets = <<\"0123456789abcdef\">>: "
          "{invalid_frame_end_marker,205}");
    CHECK(error_of(frame_octets(8, 0, "", 1)) ==
          "FRAME_ERROR - type 8, all octets = <<>>: {invalid_frame_end_marker,1}");
  }

  TEST_CASE("unknown types and payloads too short for their type are unknown frames") {
    struct Row {
      std::uint8_t type;
      std::string payload;
      const char* text;
    };

    for (const Row& row : {
             Row{0, "", "type 0, all octets = <<>>: unknown_frame"},
             Row{4, "ab", "type 4, all octets = <<\"ab\">>: unknown_frame"},
             Row{255, from_hex("001400"), "type 255, all octets = <<0,20,0>>: unknown_frame"},
             Row{8, "x", "type 8, all octets = <<\"x\">>: unknown_frame"},
             Row{1, from_hex("001400"), "type 1, all octets = <<0,20,0>>: unknown_frame"},
             Row{2, from_hex("003c000000000000000000"),
                 "type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0>>: unknown_frame"},
         }) {
      CAPTURE(row.text);
      CHECK(error_of(frame_octets(row.type, 1, row.payload)) ==
            std::string("FRAME_ERROR - ") + row.text);
    }

    struct Shortest {
      std::uint8_t type;
      std::size_t payload_bytes;
    };

    for (const Shortest& row : {Shortest{1, 4}, Shortest{2, 12}, Shortest{3, 0}, Shortest{8, 0}}) {
      CAPTURE(row.type);
      const std::string input = frame_octets(row.type, 1, std::string(row.payload_bytes, '\0'));
      CHECK(parse_frame(input, kFrameMax).status == FrameStatus::complete);
    }
  }

  TEST_CASE("a frame on the wrong kind of channel is named with its octets") {
    const ProtocolError error = unexpected_frame({FrameType::heartbeat, 1, ""});
    CHECK(reply_text(error) == "UNEXPECTED_FRAME - type 8, all octets = <<>>");
    CHECK(error.method == MethodId{});
    CHECK(reply_text(unexpected_frame({FrameType::body, 0, "0123456789abcdefg"})) ==
          "UNEXPECTED_FRAME - type 3, first 16 octets = <<\"0123456789abcdef\">>");
  }
}

TEST_SUITE("frame encoding") {
  TEST_CASE("a body is split into frames of frame_max and a remainder") {
    struct Row {
      std::size_t body_bytes;
      std::uint32_t frame_max;
      std::size_t frames;
      std::size_t last_payload;
    };

    for (const Row& row :
         {Row{0, 4096, 0, 0}, Row{1, 4096, 1, 1}, Row{4088, 4096, 1, 4088}, Row{4089, 4096, 2, 1},
          Row{10000, 4096, 3, 1824}, Row{0, 0, 0, 0}, Row{100000, 0, 1, 100000}}) {
      CAPTURE(row.body_bytes);
      CAPTURE(row.frame_max);
      std::string body(row.body_bytes, '\0');
      for (std::size_t i = 0; i < body.size(); ++i)
        body[i] = static_cast<char>(i % 251);
      Buffer out;
      encode_body_frames(7, body, row.frame_max, out);
      CHECK(out.size() == body_frames_bytes(row.body_bytes, row.frame_max));

      std::string joined;
      std::size_t frames = 0;
      std::size_t last_payload = 0;
      for (ByteView rest = out.view(); !rest.empty(); ++frames) {
        const FrameParse parse = parse_frame(rest, row.frame_max);
        REQUIRE(parse.status == FrameStatus::complete);
        CHECK(parse.frame.type == FrameType::body);
        CHECK(parse.frame.channel == 7);
        if (row.frame_max != 0) CHECK(parse.consumed <= row.frame_max);
        last_payload = parse.frame.payload.size();
        joined += parse.frame.payload;
        rest.remove_prefix(parse.consumed);
      }
      CHECK(frames == row.frames);
      CHECK(last_payload == row.last_payload);
      CHECK(joined == body);
    }
  }

  TEST_CASE("a heartbeat is eight octets on channel 0") {
    Buffer out;
    encode_heartbeat(out);
    CHECK(to_hex(out.view()) ==
          "0800000000"
          "0000ce");
  }

  TEST_CASE("a content header is not split, whatever its size") {
    Buffer out;
    encode_header_frame(1, 0, std::string(9000, 'p'), out);
    CHECK(out.size() == 9000 + kFrameOverhead + kContentHeaderBytes);
  }
}

}  // namespace harrier
