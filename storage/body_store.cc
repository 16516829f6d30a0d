#include "storage/body_store.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/metadata.h>
#include <rocksdb/write_batch.h>

#include "storage/crc32c.h"
#include "storage/octets.h"

namespace harrier {

namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kCandidateBytesMin = 128;  // below, finding a body costs what a copy does

rocksdb::Slice slice(ByteView octets) {
  return {octets.data(), octets.size()};
}

void write_chunk(const BodyKey& at, ByteView octets, rocksdb::WriteBatch& batch,
                 rocksdb::ColumnFamilyHandle* column) {
  const auto key = encode(at);
  const char format[] = {static_cast<char>(kFormat)};
  const std::uint32_t crc = crc32c(octets, crc32c({format, 1}, crc32c(key.view())));
  char checksum[kChecksumBytes];
  put_fixed(checksum, crc);
  const rocksdb::Slice key_slice = slice(key.view());
  const std::array<rocksdb::Slice, 3> value{rocksdb::Slice(format, 1), slice(octets),
                                            rocksdb::Slice(checksum, kChecksumBytes)};
  batch.Put(column, rocksdb::SliceParts(&key_slice, 1),
            rocksdb::SliceParts(value.data(), static_cast<int>(value.size())));
}

// The octets of the body in a stored chunk; empty if it is damaged.
ByteView read_chunk(const BodyKey& at, ByteView chunk) {
  if (chunk.size() <= 1 + kChecksumBytes) return {};
  const ByteView covered = chunk.substr(0, chunk.size() - kChecksumBytes);
  OctetReader tail(chunk.substr(covered.size()));
  if (tail.fixed<std::uint32_t>() != crc32c(covered, crc32c(encode(at).view()))) return {};
  if (static_cast<std::uint8_t>(covered[0]) != kFormat) return {};
  return covered.substr(1);
}

}  // namespace

void write_chunks(BodyKey first, ByteView octets, std::size_t end, rocksdb::WriteBatch& batch,
                  rocksdb::ColumnFamilyHandle* column) {
  for (BodyKey key = first; key.chunk * kBodyChunkBytes < end; ++key.chunk) {
    write_chunk(key, octets.substr(key.chunk * kBodyChunkBytes, kBodyChunkBytes), batch, column);
  }
}

void BodyWriter::start_commit() {
  bodies_.clear();
  last_ = nullptr;
}

void BodyWriter::note(const Message& message, Origin origin) {
  const Message* before = std::exchange(last_, &message);
  const std::size_t bytes = message.body().size();
  if (bytes < kCandidateBytesMin) return;
  if (before == &message || origin == Origin::from_group || bytes > kBodyInBlockMax) {
    bodies_.try_emplace(&message);
  }
}

void BodyWriter::count(const Message& message) {
  const auto found = bodies_.find(&message);
  if (found != bodies_.end()) ++found->second.lanes;
}

BodyId BodyWriter::place(const Message& message, Epoch epoch, rocksdb::WriteBatch& batch,
                         rocksdb::ColumnFamilyHandle* column) {
  const ByteView octets = message.body();
  if (bodies_.empty() || octets.size() < kCandidateBytesMin) return kInBlock;
  const auto found = bodies_.find(&message);
  if (found == bodies_.end()) return kInBlock;
  Body& body = found->second;
  const bool pays = (body.lanes - 1) * octets.size() >= kSharingSavesMin;
  if (!pays && octets.size() <= kBodyInBlockMax) return kInBlock;
  if (body.id != kInBlock) return body.id;
  body.id = take_id();
  write_chunks({epoch, body.id, 0}, octets, octets.size(), batch, column);
  return body.id;
}

BodyReader::BodyReader(const Columns& columns) : columns_(columns) {}

BodyReader::~BodyReader() = default;

MessageRef BodyReader::message(Epoch epoch, const BlockEntry& entry) {
  if (entry.body_place.id == kInBlock) return Message::create(entry.parts, entry.body);
  MessageRef message = Message::create(entry.parts, entry.body_bytes);
  if (!read_body(epoch, entry, message->mutable_body())) return {};
  return message;
}

bool BodyReader::read_body(Epoch epoch, const BlockEntry& entry, char* out) {
  BodyKey key{epoch, entry.body_place.id, 0};
  auto run = entry.body_place.runs.begin();
  std::uint32_t left_in_run = 0;
  for (std::uint64_t bytes = entry.body_bytes; bytes > 0; ++key.chunk) {
    if (!entry.body_place.runs.empty() && left_in_run-- == 0) {
      if (run == entry.body_place.runs.end()) return false;
      key.epoch = run->epoch;
      left_in_run = run++->chunks - 1;
    }
    if (!seek(key)) return false;
    const rocksdb::Slice stored = chunks_->value();
    const ByteView octets = read_chunk(key, {stored.data(), stored.size()});
    if (octets.size() != std::min<std::uint64_t>(bytes, kBodyChunkBytes)) return false;
    out = put_octets(out, octets);
    bytes -= octets.size();
  }
  return true;
}

bool BodyReader::is_collected(Epoch epoch, const BlockEntry& entry) const {
  if (entry.body_place.runs.empty()) return !holds_bodies(epoch);
  return std::any_of(entry.body_place.runs.begin(), entry.body_place.runs.end(),
                     [&](const BodyRun& run) { return !holds_bodies(run.epoch); });
}

std::optional<StoreError> BodyReader::read_error() const {
  if (chunks_ == nullptr || chunks_->status().ok() || chunks_->status().IsCorruption()) return {};
  return store_error(chunks_->status(), "reading bodies");
}

// The list of files is asked too, because an iterator may pass over a file whose first block cannot
// be read (file_scan.h).
bool BodyReader::holds_bodies(Epoch epoch) const {
  std::vector<rocksdb::LiveFileMetaData> files;
  columns_.db->GetLiveFilesMetaData(&files);
  for (const rocksdb::LiveFileMetaData& file : files) {
    if (file.column_family_name != columns_.sh->GetName()) continue;
    const auto first = decode_leading_epoch(file.smallestkey);
    const auto last = decode_leading_epoch(file.largestkey);
    if (first && last && *first <= epoch && epoch <= *last) return true;
  }
  const auto prefix = encode_epoch(epoch);
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> now(columns_.db->NewIterator(options, columns_.sh));
  now->Seek(slice(prefix.view()));
  return !now->status().ok() || (now->Valid() && now->key().starts_with(slice(prefix.view())));
}

// The bodies of a lane have ascending ids: most often the wanted chunk is the next one.
bool BodyReader::seek(const BodyKey& key) {
  const auto octets = encode(key);
  const rocksdb::Slice wanted = slice(octets.view());
  if (chunks_ == nullptr) {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    options.verify_checksums = true;
    chunks_.reset(columns_.db->NewIterator(options, columns_.sh));
  }
  if (chunks_->Valid() && chunks_->key().compare(wanted) < 0) chunks_->Next();
  if (!chunks_->Valid() || chunks_->key() != wanted) chunks_->Seek(wanted);
  return chunks_->Valid() && chunks_->key() == wanted;
}

}  // namespace harrier
