// Any octets as the payload of a METHOD frame: a method that decodes encodes to a frame that
// decodes to the same method.

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "base/assert.h"
#include "protocol/method_codec.h"

namespace harrier {

namespace {

void check(ByteView payload) {
  Buffer frame;
  std::string text;
  const DecodeStatus status = visit_method(payload, [&](const auto& method) {
    encode_method(1, method, frame);
    text = trace(method);
  });
  if (status != DecodeStatus::ok) {
    HARRIER_CHECK(reply_text(decode_error(status, payload)).size() <= 255);
    return;
  }
  const FrameParse parse = parse_frame(frame.view(), 0);
  HARRIER_CHECK(parse.status == FrameStatus::complete);
  HARRIER_CHECK(parse.consumed == frame.size());
  HARRIER_CHECK(parse.frame.payload.size() == payload.size());

  Buffer frame_again;
  const DecodeStatus status_again = visit_method(parse.frame.payload, [&](const auto& method) {
    encode_method(1, method, frame_again);
    HARRIER_CHECK(trace(method) == text);
  });
  HARRIER_CHECK(status_again == DecodeStatus::ok);
  HARRIER_CHECK(frame_again.view() == frame.view());
}

}  // namespace

}  // namespace harrier

// NOLINTNEXTLINE(readability-identifier-naming): the name is libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  harrier::check({reinterpret_cast<const char*>(data), size});
  return 0;
}
