// Any octets as what a client sends after the protocol header, on one channel: frames are parsed,
// encoded again to the same octets, and what is content is assembled.

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "protocol/content_assembler.h"
#include "protocol/method_codec.h"

namespace harrier {

namespace {

constexpr std::uint32_t kFrameMax = 4096;
constexpr std::uint64_t kMessageMax = 1 << 16;

void check_same_octets(const Frame& frame, ByteView octets) {
  Buffer encoded;
  WireWriter writer(encoded, kFrameOverhead + frame.payload.size());
  write_frame_header(writer, frame.type, frame.channel, frame.payload.size());
  writer.octets(frame.payload);
  writer.u8(kFrameEnd);
  HARRIER_CHECK(encoded.view() == octets);
}

void check_content(AssembledContent& content) {
  if (content.oversize || !content.properties_view) {
    HARRIER_CHECK(!content.message);
    return;
  }
  HARRIER_CHECK(content.message->body().size() == content.body_bytes);
  HARRIER_CHECK(content.message->exchange() == content.exchange);
  HARRIER_CHECK(content.message->properties() == content.properties);
  Buffer again;
  content.properties_view->encode(again);
  HARRIER_CHECK(again.size() == content.properties.size());
}

// False if the channel is broken.
bool feed(ContentAssembler& assembler, const Frame& frame) {
  Result<bool, ProtocolError> complete = false;
  switch (frame.type) {
    case FrameType::method:
      if (assembler.active()) return false;
      return visit_method(frame.payload, [&](const auto& method) {
               if constexpr (std::is_same_v<decltype(method), const BasicPublish&>) {
                 assembler.begin(method);
               }
             }) == DecodeStatus::ok;
    case FrameType::header:
      complete = assembler.on_header(frame.payload, kMessageMax);
      break;
    case FrameType::body:
      complete = assembler.on_body(frame.payload);
      break;
    case FrameType::heartbeat:
      break;
  }
  if (complete && *complete) check_content(assembler.content());
  return complete.has_value();
}

void check(ByteView input) {
  ContentAssembler assembler;
  while (true) {
    const FrameParse parse = parse_frame(input, kFrameMax);
    if (parse.status == FrameStatus::need_more) {
      HARRIER_CHECK(parse.needed > input.size());
      return;
    }
    if (parse.status == FrameStatus::error) {
      HARRIER_CHECK(reply_text(frame_error(parse, kFrameMax)).size() <= 255);
      return;
    }
    check_same_octets(parse.frame, input.substr(0, parse.consumed));
    if (!feed(assembler, parse.frame)) return;
    input.remove_prefix(parse.consumed);
  }
}

}  // namespace

}  // namespace harrier

// NOLINTNEXTLINE(readability-identifier-naming): the name is libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  harrier::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
