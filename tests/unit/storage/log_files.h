#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "storage/commit_mark.h"

namespace harrier::test {

// Writes RocksDB's log format, for logs and MANIFESTs made by hand.
class LogFile {
 public:
  void add(ByteView record);

  const std::string& octets() const { return octets_; }

  std::uint64_t size() const { return octets_.size(); }

  // Damages an octet.
  void flip(std::uint64_t offset, int bit = 0) {
    octets_[offset] = static_cast<char>(octets_[offset] ^ (1 << bit));
  }

  void zero_from(std::uint64_t offset) {
    octets_.replace(offset, octets_.npos, size() - offset, 0);
  }

  void cut_at(std::uint64_t offset) { octets_.resize(offset); }

 private:
  void add_chunk(int type, ByteView payload);

  std::string octets_;
};

// A batch as RocksDB logs it; `filling` octets stand for its entries.
std::string logged_batch(std::uint64_t first_seq, std::uint32_t count,
                         const std::optional<CommitMark>& mark, std::size_t filling = 0);

}  // namespace harrier::test
