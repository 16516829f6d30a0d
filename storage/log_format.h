#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace harrier {

// The file format that RocksDB's write-ahead logs (*.log) and its MANIFEST share. A file consists
// of blocks of 32 KiB, a block of chunks. A record is one chunk, or several in consecutive blocks.
//
//   OFFSET  SIZE  DESCRIPTION
//        0     4  crc32c of type and payload, masked; little endian as the length
//        4     2  length of the payload
//        6     1  type: 1 whole record, 2 first chunk of one, 3 middle, 4 last
//        7     *  payload
//
// A rest of a block that is too short for a header is zero. Other types (recycled or compressed
// logs) are never written with our options and count as damage.

inline constexpr std::size_t kLogBlockBytes = 32 << 10;
inline constexpr std::size_t kLogHeaderBytes = 7;

// A record, or a stretch in which none can be read.
struct LogPiece {
  bool intact = false;
  std::uint64_t begin = 0;   // offsets in the file: the first chunk's header
  std::uint64_t end = 0;     // and where the next piece begins
  std::uint64_t bad_at = 0;  // if not intact: the chunk that is wrong
  ByteView record;           // if intact: its octets, until the next call of next()
};

// Reads a file front to back and does not stop at damage: it goes on with the chunk behind it if
// that is intact, else with the next block. Zeros up to the end of the file are its end, not
// damage. `file` must outlive the reader.
class LogReader {
 public:
  explicit LogReader(ByteView file);

  // None at the end.
  std::optional<LogPiece> next();

 private:
  enum class Kind : std::uint8_t {
    whole = 1,
    first = 2,
    middle = 3,
    last = 4,
    bad,
    end
  };

  struct Chunk {
    Kind kind = Kind::end;
    std::uint64_t begin = 0;
    ByteView payload;
  };

  Chunk read_chunk();
  Chunk bad_chunk(std::uint64_t resume_at);
  std::optional<Chunk> intact_chunk_at(std::uint64_t offset) const;
  LogPiece damaged(std::uint64_t begin, std::uint64_t bad_at);

  const ByteView file_;
  std::uint64_t content_end_;  // only zeros from here on
  std::uint64_t at_ = 0;
  bool assembling_ = false;  // the first chunk of a record was read, its last not yet
  std::uint64_t record_begin_ = 0;
  std::string record_;
};

// Whether the chunk at `offset` would be intact but for a single bit. Storage that decays does
// that, an interrupted write does not.
bool is_one_bit_off(ByteView file, std::uint64_t offset);

}  // namespace harrier
