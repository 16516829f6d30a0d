#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace harrier {

// What every write of ours leaves in RocksDB's log besides its content, as the last entry of the
// batch. RocksDB itself ignores it; the guard (log_guard.h) tells by it lost unsynced commits at
// the end of a log from damage to what had been synced. Numbers are little endian.
//
//   OFFSET  SIZE  DESCRIPTION
//        0     8  run
//        8     8  number of the write in its run, without gaps; 0 begins the run
//       16     8  the last write of the run that was synced when this one was made
//       24     8  the first write of the run that went into this log
//       32     4  "mark"; not zero, so that a torn end of the log can never look like a whole one
struct CommitMark {
  std::uint64_t run = 0;
  std::uint64_t commit = 0;
  std::uint64_t synced_commit = 0;
  std::uint64_t first_of_log = 0;

  friend bool operator==(const CommitMark&, const CommitMark&) = default;
};

inline constexpr std::size_t kCommitMarkBytes = 36;

std::array<char, kCommitMarkBytes> encode(const CommitMark& mark);

// A record of the log: one batch.
struct LoggedBatch {
  std::uint64_t first_seq = 0;  // RocksDB numbers entries of batches one after the other
  std::uint32_t count = 0;
  std::optional<CommitMark> mark;  // none in what RocksDB and migrations write
};

// None for octets that are no batch.
std::optional<LoggedBatch> read_logged_batch(ByteView record);

}  // namespace harrier
