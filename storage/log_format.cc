#include "storage/log_format.h"

#include <algorithm>
#include <bit>

#include "storage/crc32c.h"
#include "storage/octets.h"

namespace harrier {

namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // of CRC-32C, lowest bit first

struct Header {
  std::uint32_t checksum;
  std::uint16_t length;
  std::uint8_t type;
};

Header read_header(ByteView file, std::uint64_t offset) {
  OctetReader reader(file.substr(offset, kLogHeaderBytes));
  Header header{};
  header.checksum = reader.fixed<std::uint32_t>();
  header.length = reader.fixed<std::uint16_t>();
  header.type = reader.fixed<std::uint8_t>();
  return header;
}

// RocksDB rotates checksums and adds a constant, because a checksum over checksums is weak.
std::uint32_t masked(std::uint32_t crc) {
  return std::rotr(crc, 15) + 0xa282ead8U;
}

std::uint32_t unmasked(std::uint32_t checksum) {
  return std::rotl(checksum - 0xa282ead8U, 15);
}

// What the checksum of a chunk covers: its type and payload.
ByteView covered(ByteView file, std::uint64_t offset, std::size_t length) {
  return file.substr(offset + kLogHeaderBytes - 1, 1 + length);
}

// Octets that a chunk at `offset` can have at most.
std::uint64_t room_at(ByteView file, std::uint64_t offset) {
  return std::min<std::uint64_t>(kLogBlockBytes - offset % kLogBlockBytes, file.size() - offset);
}

std::uint64_t next_block(std::uint64_t offset) {
  return (offset / kLogBlockBytes + 1) * kLogBlockBytes;
}

// Whether flipping one bit among the last `bits` that went into a checksum changes it by `change`.
bool is_effect_of_one_bit(std::uint32_t change, std::size_t bits) {
  // Of the last bit first. One bit earlier means one more step of the division.
  std::uint32_t effect = kPolynomial;
  for (; bits > 0; --bits) {
    if (effect == change) return true;
    effect = (effect >> 1) ^ ((effect & 1) != 0 ? kPolynomial : 0);
  }
  return false;
}

}  // namespace

LogReader::LogReader(ByteView file) : file_(file) {
  const std::size_t last = file.find_last_not_of('\0');
  content_end_ = last == ByteView::npos ? 0 : last + 1;
}

std::optional<LogPiece> LogReader::next() {
  for (;;) {
    const Chunk chunk = read_chunk();
    const bool begins = chunk.kind == Kind::whole || chunk.kind == Kind::first;
    const bool goes_on = chunk.kind == Kind::middle || chunk.kind == Kind::last;
    if (assembling_ && (begins || chunk.kind == Kind::end)) {
      at_ = chunk.begin;  // read again when the loss of the record before it is told
      return damaged(record_begin_, chunk.begin);
    }
    if (chunk.kind == Kind::end) return std::nullopt;
    if (chunk.kind == Kind::bad || (goes_on && !assembling_)) {
      return damaged(assembling_ ? record_begin_ : chunk.begin, chunk.begin);
    }
    if (chunk.kind == Kind::whole) return LogPiece{true, chunk.begin, at_, 0, chunk.payload};
    if (chunk.kind == Kind::first) {
      record_begin_ = chunk.begin;
      record_.clear();
      assembling_ = true;
    }
    record_.append(chunk.payload);
    if (chunk.kind == Kind::last) {
      assembling_ = false;
      return LogPiece{true, record_begin_, at_, 0, record_};
    }
  }
}

LogPiece LogReader::damaged(std::uint64_t begin, std::uint64_t bad_at) {
  assembling_ = false;
  return {false, begin, at_, bad_at, {}};
}

LogReader::Chunk LogReader::read_chunk() {
  const std::uint64_t block_left = kLogBlockBytes - at_ % kLogBlockBytes;
  if (block_left < kLogHeaderBytes) at_ += block_left;
  at_ = std::min<std::uint64_t>(at_, file_.size());
  if (at_ >= content_end_) return {Kind::end, at_, {}};
  if (const auto chunk = intact_chunk_at(at_)) {
    at_ += kLogHeaderBytes + chunk->payload.size();
    return *chunk;
  }
  if (file_.size() - at_ < kLogHeaderBytes) return bad_chunk(file_.size());
  const std::uint64_t behind = at_ + kLogHeaderBytes + read_header(file_, at_).length;
  const bool length_is_right = behind < next_block(at_) && intact_chunk_at(behind).has_value();
  return bad_chunk(length_is_right ? behind : next_block(at_));
}

LogReader::Chunk LogReader::bad_chunk(std::uint64_t resume_at) {
  const Chunk chunk{Kind::bad, at_, {}};
  at_ = std::min<std::uint64_t>(resume_at, file_.size());
  return chunk;
}

std::optional<LogReader::Chunk> LogReader::intact_chunk_at(std::uint64_t offset) const {
  if (offset >= file_.size()) return std::nullopt;
  const std::uint64_t room = room_at(file_, offset);
  if (room < kLogHeaderBytes) return std::nullopt;
  const Header header = read_header(file_, offset);
  if (kLogHeaderBytes + header.length > room) return std::nullopt;
  if (header.type < 1 || header.type > 4) return std::nullopt;
  const ByteView octets = covered(file_, offset, header.length);
  if (masked(crc32c(octets)) != header.checksum) return std::nullopt;
  return Chunk{static_cast<Kind>(header.type), offset, octets.substr(1)};
}

bool is_one_bit_off(ByteView file, std::uint64_t offset) {
  if (offset >= file.size()) return false;
  const std::uint64_t room = room_at(file, offset);
  if (room < kLogHeaderBytes) return false;
  const Header header = read_header(file, offset);
  if (kLogHeaderBytes + header.length <= room) {
    const ByteView octets = covered(file, offset, header.length);
    const std::uint32_t crc = crc32c(octets);
    if (std::has_single_bit(masked(crc) ^ header.checksum)) return true;
    const std::uint32_t change = crc ^ unmasked(header.checksum);
    if (is_effect_of_one_bit(change, 8 * octets.size())) return true;
  }
  for (unsigned bit = 0; bit < 16; ++bit) {
    const std::size_t length = header.length ^ (1U << bit);
    if (kLogHeaderBytes + length > room) continue;
    if (masked(crc32c(covered(file, offset, length))) == header.checksum) return true;
  }
  return false;
}

}  // namespace harrier
