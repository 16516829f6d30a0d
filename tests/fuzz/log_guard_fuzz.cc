// Any octets as RocksDB's log and as its MANIFEST: the readers come to an end, pieces ascend, and
// what is judged to be readable is whole when it is read again.

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "storage/log_chain.h"
#include "storage/log_format.h"
#include "storage/manifest.h"

namespace harrier {
namespace {

void check_pieces(ByteView file) {
  LogReader reader(file);
  std::uint64_t end = 0;
  while (const auto piece = reader.next()) {
    HARRIER_CHECK(piece->begin >= end);
    HARRIER_CHECK(piece->end > piece->begin);
    HARRIER_CHECK(piece->end <= file.size());
    HARRIER_CHECK(piece->intact || piece->bad_at < file.size());
    end = piece->end;
  }
}

void check_chain(ByteView file) {
  const std::size_t half = file.size() / 2;
  LogChain chain;
  chain.add(1, 0, file.substr(0, half));
  chain.add(2, 0, file.substr(half));
  const auto verdict = chain.judge();
  if (!verdict) return;
  HARRIER_CHECK(!verdict->commits.empty());
  LogChain again;
  again.add(1, 0, file.substr(0, verdict->cut.log == 1 ? verdict->cut.offset : half));
  if (verdict->cut.log == 2) again.add(2, 0, file.substr(half, verdict->cut.offset));
  HARRIER_CHECK(!again.judge());
}

}  // namespace
}  // namespace harrier

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const harrier::ByteView file(reinterpret_cast<const char*>(data), size);
  harrier::check_pieces(file);
  harrier::check_chain(file);
  harrier::read_manifest(file);
  harrier::is_one_bit_off(file, size / 3);
  return 0;
}
