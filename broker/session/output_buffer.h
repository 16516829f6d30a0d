#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/message.h"
#include "protocol/constants.h"

namespace harrier {

// What a connection has still to write. Frames are encoded into one growing buffer; the bodies of
// large messages are not copied there but borrowed in place until they are sent.
class OutputBuffer {
 public:
  // Where frames are appended.
  Buffer& tail() { return bytes_; }

  // Appends body frames of at most `frame_max` octets (0 = one frame).
  void append_body(ChannelNumber channel, const MessageRef& message, std::uint32_t frame_max);

  // Octets not sent.
  std::size_t size() const { return bytes_.size() - sent_ + borrowed_bytes_; }

  // Octets not sent that answer what the client asked for, told by note_answer(). They go out mixed
  // with deliveries, so what was sent counts for both in proportion.
  std::size_t answers() const { return answers_; }

  void note_answer(std::size_t octets) { answers_ += octets; }

  bool empty() const { return size() == 0; }

  // The next octets to send, as many pieces as fit. They stay until consume().
  std::size_t gather(std::span<iovec> pieces) const;
  void consume(std::size_t octets);

  // Gives memory back while there is nothing to send.
  void shrink();

 private:
  // Smaller bodies are cheaper to copy than to send as a piece of their own.
  static constexpr std::size_t kBorrowFrom = std::size_t{16} * 1024;
  static constexpr std::size_t kKeepBytes = std::size_t{64} * 1024;

  struct Borrowed {
    std::size_t at;  // goes before bytes_[at]
    MessageRef message;
    ByteView octets;
  };

  void compact();

  Buffer bytes_;
  std::size_t sent_ = 0;  // of bytes_
  std::vector<Borrowed> borrowed_;
  std::size_t first_borrowed_ = 0;  // those before it are sent
  std::size_t borrowed_bytes_ = 0;
  std::size_t answers_ = 0;
};

}  // namespace harrier
