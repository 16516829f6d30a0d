#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "protocol/byte_order.h"
#include "protocol/constants.h"
#include "protocol/reply_code.h"
#include "protocol/wire_writer.h"

namespace harrier {

// OFFSET  SIZE  AMQP 0-9-1 §2.3.5
// 0       1     type
// 1       2     channel
// 3       4     payload size
// 7       size  payload
// 7+size  1     frame-end, 0xCE

// A frame whose payload lies in the input it was parsed from.
struct Frame {
  FrameType type{};
  ChannelNumber channel = 0;
  ByteView payload;
};

enum class FrameStatus : std::uint8_t {
  complete,
  need_more,
  error,
};

enum class FrameFault : std::uint8_t {
  none,
  too_large,  // payload above frame_max, known from the frame header alone
  bad_end,    // no frame-end octet behind the payload
  unknown,    // unknown type, heartbeat with payload, METHOD or HEADER too short for its ids
};

struct FrameParse {
  FrameStatus status = FrameStatus::need_more;
  FrameFault fault = FrameFault::none;
  Frame frame;
  std::size_t consumed = 0;                // octets of a complete frame; 0 otherwise
  std::size_t needed = kFrameHeaderBytes;  // octets the frame takes, as far as known
};

// Looks at the beginning of `input`. Stateless: a frame that is not complete is parsed again from
// its start when more has arrived, so call it with input of at least `needed` octets then.
//
// As RabbitMQ does, payloads up to `frame_max` pass although the frame would then be eight octets
// too large. 0 stands for kUnlimitedFrameMax.
inline FrameParse parse_frame(ByteView input, std::uint32_t frame_max) {
  FrameParse parse;
  if (input.size() < kFrameHeaderBytes) return parse;
  const char* octets = input.data();
  const std::size_t payload_bytes = load_big_endian<std::uint32_t>(octets + 3);
  const std::size_t payload_max = frame_max == 0 ? kUnlimitedFrameMax : frame_max;
  parse.frame.type = static_cast<FrameType>(static_cast<std::uint8_t>(octets[0]));
  parse.frame.channel = load_big_endian<std::uint16_t>(octets + 1);
  parse.needed = payload_bytes + kFrameOverhead;
  const auto failed = [&parse](FrameFault fault) {
    parse.status = FrameStatus::error;
    parse.fault = fault;
    return parse;
  };
  if (payload_bytes > payload_max) return failed(FrameFault::too_large);
  if (input.size() < parse.needed) return parse;
  parse.frame.payload = input.substr(kFrameHeaderBytes, payload_bytes);
  if (static_cast<std::uint8_t>(octets[kFrameHeaderBytes + payload_bytes]) != kFrameEnd) {
    return failed(FrameFault::bad_end);
  }
  bool known = false;
  switch (parse.frame.type) {
    case FrameType::method:
      known = payload_bytes >= 4;
      break;
    case FrameType::header:
      known = payload_bytes >= kContentHeaderBytes;
      break;
    case FrameType::body:
      known = true;
      break;
    case FrameType::heartbeat:
      known = payload_bytes == 0;
      break;
  }
  if (!known) return failed(FrameFault::unknown);
  parse.status = FrameStatus::complete;
  parse.consumed = parse.needed;
  return parse;
}

// FRAME_ERROR with RabbitMQ's text for a parse that failed; `frame_max` as given to parse_frame,
// and the input still in place.
ProtocolError frame_error(const FrameParse& parse, std::uint32_t frame_max);

// UNEXPECTED_FRAME for a whole frame on a channel where its type has no business: HEADER and BODY
// on channel 0, heartbeat elsewhere.
ProtocolError unexpected_frame(const Frame& frame);

inline void write_frame_header(WireWriter& writer, FrameType type, ChannelNumber channel,
                               std::size_t payload_bytes) {
  HARRIER_DCHECK(payload_bytes <= UINT32_MAX);
  writer.u8(static_cast<std::uint8_t>(type));
  writer.u16(channel);
  writer.u32(static_cast<std::uint32_t>(payload_bytes));
}

// Each appends whole frames to `out`.
//
// `properties` is property-flags and properties. Content headers are never split, so a header may
// exceed frame_max (RabbitMQ sends such headers as well).
void encode_header_frame(ChannelNumber channel, std::uint64_t body_bytes, ByteView properties,
                         Buffer& out);

// Frames of frame_max - 8 octets and a remainder; one frame if frame_max is 0; none for no body.
void encode_body_frames(ChannelNumber channel, ByteView body, std::uint32_t frame_max, Buffer& out);

void encode_heartbeat(Buffer& out);

// Octets that encode_body_frames appends.
std::size_t body_frames_bytes(std::size_t body_bytes, std::uint32_t frame_max);

}  // namespace harrier
