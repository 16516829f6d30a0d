#include "log_files.h"

#include <algorithm>
#include <bit>

#include "storage/crc32c.h"
#include "storage/log_format.h"
#include "storage/octets.h"

namespace harrier::test {

namespace {

void append_number(std::string& octets, auto number) {
  char scratch[sizeof(number)];
  put_fixed(scratch, number);
  octets.append(scratch, sizeof(number));
}

}  // namespace

void LogFile::add(ByteView record) {
  bool is_first = true;
  do {
    std::size_t room = kLogBlockBytes - octets_.size() % kLogBlockBytes;
    if (room < kLogHeaderBytes) {
      octets_.append(room, '\0');
      room = kLogBlockBytes;
    }
    const std::size_t taken = std::min(record.size(), room - kLogHeaderBytes);
    const bool is_last = taken == record.size();
    const int type = is_first ? (is_last ? 1 : 2) : (is_last ? 4 : 3);
    add_chunk(type, record.substr(0, taken));
    record.remove_prefix(taken);
    is_first = false;
    if (is_last) return;
  } while (true);
}

void LogFile::add_chunk(int type, ByteView payload) {
  std::string covered(1, static_cast<char>(type));
  covered += payload;
  append_number(octets_, std::rotr(crc32c(covered), 15) + 0xa282ead8U);
  append_number(octets_, static_cast<std::uint16_t>(payload.size()));
  octets_ += covered;
}

std::string logged_batch(std::uint64_t first_seq, std::uint32_t count,
                         const std::optional<CommitMark>& mark, std::size_t filling) {
  std::string batch;
  append_number(batch, first_seq);
  append_number(batch, count);
  batch.append(filling, 'e');
  if (!mark) return batch;
  const auto octets = encode(*mark);
  batch += '\x03';
  batch += static_cast<char>(octets.size());
  batch.append(octets.data(), octets.size());
  return batch;
}

}  // namespace harrier::test
