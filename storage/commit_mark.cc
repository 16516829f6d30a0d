#include "storage/commit_mark.h"

#include "storage/octets.h"

namespace harrier {

namespace {

constexpr ByteView kMagic = "mark";
constexpr std::size_t kBatchHeaderBytes = 12;  // sequence and count
constexpr char kLogDataTag = 3;  // RocksDB's kTypeLogData, followed by a varint length

std::optional<CommitMark> find_mark(ByteView entries) {
  constexpr std::size_t kEntryBytes = 2 + kCommitMarkBytes;
  if (entries.size() < kEntryBytes || !entries.ends_with(kMagic)) return std::nullopt;
  const ByteView entry = entries.substr(entries.size() - kEntryBytes);
  if (entry[0] != kLogDataTag || entry[1] != char{kCommitMarkBytes}) return std::nullopt;
  OctetReader reader(entry.substr(2));
  CommitMark mark;
  mark.run = reader.fixed<std::uint64_t>();
  mark.commit = reader.fixed<std::uint64_t>();
  mark.synced_commit = reader.fixed<std::uint64_t>();
  mark.first_of_log = reader.fixed<std::uint64_t>();
  return mark;
}

}  // namespace

std::array<char, kCommitMarkBytes> encode(const CommitMark& mark) {
  std::array<char, kCommitMarkBytes> octets{};
  char* at = put_fixed(octets.data(), mark.run);
  at = put_fixed(at, mark.commit);
  at = put_fixed(at, mark.synced_commit);
  at = put_fixed(at, mark.first_of_log);
  put_octets(at, kMagic);
  return octets;
}

std::optional<LoggedBatch> read_logged_batch(ByteView record) {
  if (record.size() < kBatchHeaderBytes) return std::nullopt;
  OctetReader reader(record);
  LoggedBatch batch;
  batch.first_seq = reader.fixed<std::uint64_t>();
  batch.count = reader.fixed<std::uint32_t>();
  batch.mark = find_mark(record.substr(kBatchHeaderBytes));
  return batch;
}

}  // namespace harrier
