#include "broker/session/output_buffer.h"

#include <algorithm>

#include "base/assert.h"
#include "protocol/frame.h"
#include "protocol/wire_writer.h"

namespace harrier {

void OutputBuffer::append_body(ChannelNumber channel, const MessageRef& message,
                               std::uint32_t frame_max) {
  ByteView body = message->body();
  if (body.size() < kBorrowFrom) {
    encode_body_frames(channel, body, frame_max, bytes_);
    return;
  }
  const std::size_t frame_bytes = frame_max == 0 ? body.size() : frame_max - kFrameOverhead;
  while (!body.empty()) {
    const ByteView piece = body.substr(0, frame_bytes);
    body.remove_prefix(piece.size());
    WireWriter header(bytes_, kFrameHeaderBytes);
    write_frame_header(header, FrameType::body, channel, piece.size());
    borrowed_.push_back({bytes_.size(), message, piece});
    borrowed_bytes_ += piece.size();
    WireWriter(bytes_, 1).u8(kFrameEnd);
  }
}

std::size_t OutputBuffer::gather(std::span<iovec> pieces) const {
  std::size_t count = 0;
  std::size_t at = sent_;
  const auto add = [&](const char* octets, std::size_t size) {
    if (size == 0) return true;
    if (count == pieces.size()) return false;
    pieces[count++] = {const_cast<char*>(octets), size};
    return true;
  };
  for (std::size_t i = first_borrowed_; i < borrowed_.size(); ++i) {
    const Borrowed& borrowed = borrowed_[i];
    if (!add(bytes_.data() + at, borrowed.at - at)) return count;
    if (!add(borrowed.octets.data(), borrowed.octets.size())) return count;
    at = borrowed.at;
  }
  add(bytes_.data() + at, bytes_.size() - at);
  return count;
}

void OutputBuffer::consume(std::size_t octets) {
  HARRIER_DCHECK(octets <= size());
  const std::size_t left = size() - octets;
  answers_ =
      left == 0 ? 0
                : static_cast<std::size_t>(static_cast<double>(answers_) *
                                           static_cast<double>(left) / static_cast<double>(size()));
  while (first_borrowed_ < borrowed_.size()) {
    Borrowed& next = borrowed_[first_borrowed_];
    const std::size_t before = std::min(octets, next.at - sent_);
    sent_ += before;
    octets -= before;
    if (sent_ < next.at) return compact();
    const std::size_t of_it = std::min(octets, next.octets.size());
    next.octets.remove_prefix(of_it);
    borrowed_bytes_ -= of_it;
    octets -= of_it;
    if (!next.octets.empty()) return compact();
    next.message = MessageRef();
    ++first_borrowed_;
  }
  sent_ += octets;
  compact();
}

void OutputBuffer::compact() {
  if (empty()) {
    borrowed_.clear();
    first_borrowed_ = 0;
    sent_ = 0;
    if (bytes_.capacity() > kKeepBytes) {
      bytes_.reset();
    } else {
      bytes_.clear();
    }
  } else if (sent_ > kKeepBytes && sent_ > bytes_.size() / 2) {
    bytes_.consume(sent_);
    borrowed_.erase(borrowed_.begin(),
                    borrowed_.begin() + static_cast<std::ptrdiff_t>(first_borrowed_));
    first_borrowed_ = 0;
    for (Borrowed& borrowed : borrowed_)
      borrowed.at -= sent_;
    sent_ = 0;
  }
}

void OutputBuffer::shrink() {
  if (!empty()) return;
  bytes_.reset();
  borrowed_ = {};
}

}  // namespace harrier
