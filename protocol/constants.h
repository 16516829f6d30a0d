#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace harrier {

using ChannelNumber = std::uint16_t;

// Frame types of AMQP 0-9-1 §2.3.5. Any other octet in a frame's first place is an error.
enum class FrameType : std::uint8_t {
  method = 1,
  header = 2,
  body = 3,
  heartbeat = 8,
};

inline constexpr std::uint8_t kFrameEnd = 0xCE;
inline constexpr std::size_t kFrameHeaderBytes = 7;                   // type, channel, payload size
inline constexpr std::size_t kFrameOverhead = kFrameHeaderBytes + 1;  // and the frame-end octet

// What a client must send first, and what it is answered when it sent anything else.
inline constexpr std::string_view kProtocolHeader{"AMQP\0\0\x09\x01", 8};

// The only class whose methods carry content.
inline constexpr std::uint16_t kClassBasic = 60;

// class-id, weight, body-size: what a content header has before its property flags.
inline constexpr std::size_t kContentHeaderBytes = 12;

// Hard limit on a declared body-size, whatever max_message_size says.
inline constexpr std::uint64_t kBodyBytesMax = 536'870'912;

// Receive limit of a connection that negotiated frame_max 0, which AMQP calls unlimited: the
// largest body in one frame.
inline constexpr std::uint32_t kUnlimitedFrameMax = 536'870'912;

}  // namespace harrier
