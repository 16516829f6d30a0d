#include "protocol/frame.h"

#include <algorithm>
#include <string>

#include "protocol/erlang_term.h"
#include "protocol/properties.h"

namespace harrier {

// Error texts, letter by letter as RabbitMQ's reader writes them.

namespace {

constexpr std::size_t kSnippetBytes = 16;

std::string type_and_payload(FrameType type, ByteView payload) {
  const bool whole = payload.size() <= kSnippetBytes;
  return "type " + std::to_string(static_cast<unsigned>(type)) + ", " +
         (whole ? "all" : "first 16") +
         " octets = " + erlang_binary(payload.substr(0, kSnippetBytes));
}

std::string fault_term(const FrameParse& parse, std::uint32_t frame_max) {
  const std::uint32_t limit = frame_max == 0 ? kUnlimitedFrameMax : frame_max;
  const ByteView payload = parse.frame.payload;
  switch (parse.fault) {
    case FrameFault::too_large:
      return "{frame_too_large," + std::to_string(parse.needed - kFrameOverhead) + "," +
             std::to_string(limit - kFrameOverhead) + "}";
    case FrameFault::bad_end: {
      const auto marker = static_cast<unsigned char>(payload.data()[payload.size()]);
      return "{invalid_frame_end_marker," + std::to_string(marker) + "}";
    }
    default:
      return "unknown_frame";
  }
}

}  // namespace

ProtocolError frame_error(const FrameParse& parse, std::uint32_t frame_max) {
  return {
      ReplyCode::frame_error,
      type_and_payload(parse.frame.type, parse.frame.payload) + ": " + fault_term(parse, frame_max),
      MethodId{}};
}

ProtocolError unexpected_frame(const Frame& frame) {
  return {ReplyCode::unexpected_frame, type_and_payload(frame.type, frame.payload), MethodId{}};
}

// Encoding.

void encode_header_frame(ChannelNumber channel, std::uint64_t body_bytes, ByteView properties,
                         Buffer& out) {
  const std::size_t payload_bytes = 2 + 2 + 8 + properties.size();
  WireWriter writer(out, kFrameOverhead + payload_bytes);
  write_frame_header(writer, FrameType::header, channel, payload_bytes);
  writer.u16(kClassBasic);
  writer.u16(0);  // weight, "unused and must be zero"
  writer.u64(body_bytes);
  // Without the marks.
  writer.octets(properties.substr(0, kPropertyMarksOctet));
  if (properties.size() > kPropertyMarksOctet) {
    writer.u8(static_cast<std::uint8_t>(properties[kPropertyMarksOctet]) & ~kPropertyMarks & 0xff);
    writer.octets(properties.substr(kPropertyMarksOctet + 1));
  }
  writer.u8(kFrameEnd);
  HARRIER_DCHECK(writer.room() == 0);
}

namespace {

std::size_t body_payload_max(std::uint32_t frame_max) {
  if (frame_max == 0) return kUnlimitedFrameMax;
  HARRIER_CHECK(frame_max > kFrameOverhead);
  return frame_max - kFrameOverhead;
}

}  // namespace

std::size_t body_frames_bytes(std::size_t body_bytes, std::uint32_t frame_max) {
  const std::size_t payload_max = body_payload_max(frame_max);
  const std::size_t frames = (body_bytes + payload_max - 1) / payload_max;
  return body_bytes + frames * kFrameOverhead;
}

void encode_body_frames(ChannelNumber channel, ByteView body, std::uint32_t frame_max,
                        Buffer& out) {
  const std::size_t payload_max = body_payload_max(frame_max);
  WireWriter writer(out, body_frames_bytes(body.size(), frame_max));
  while (!body.empty()) {
    const ByteView payload = body.substr(0, payload_max);
    write_frame_header(writer, FrameType::body, channel, payload.size());
    writer.octets(payload);
    writer.u8(kFrameEnd);
    body.remove_prefix(payload.size());
  }
  HARRIER_DCHECK(writer.room() == 0);
}

void encode_heartbeat(Buffer& out) {
  WireWriter writer(out, kFrameOverhead);
  write_frame_header(writer, FrameType::heartbeat, 0, 0);
  writer.u8(kFrameEnd);
}

}  // namespace harrier
