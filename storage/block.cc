#include "storage/block.h"

#include "base/assert.h"
#include "storage/crc32c.h"

namespace harrier {

namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::size_t kChecksumBytes = 4;
constexpr std::uint8_t kBodiesElsewhere = 1;  // flags of a block
constexpr std::uint8_t kBodiesApart = 2;
constexpr std::size_t kEntryFixedMax = 10 * kVarintMax + 2;  // all of an entry that is not octets

enum EntryFlag : std::uint8_t {
  persistent = 1,
  expires = 2,
  priority = 4,
  ttl = 8,
  route_repeated = 16,
  properties_repeated = 32,
  body_apart = 64,
  body_elsewhere = 128,
};

std::size_t entry_bytes_max(const Message& message, const BodyPlace& body) {
  return kEntryFixedMax + message.exchange().size() + message.routing_key().size() +
         message.properties().size() + (body.id == kInBlock ? message.body().size() : 0) +
         2 * kVarintMax * body.runs.size();
}

std::uint8_t entry_flags(const Message& message, const Message* before, Timestamp expires_at) {
  unsigned flags = 0;
  if (message.persistent()) flags |= EntryFlag::persistent;
  if (expires_at != kNoTime) flags |= EntryFlag::expires;
  if (message.priority() != 0) flags |= EntryFlag::priority;
  if (message.ttl_ms() >= 0) flags |= EntryFlag::ttl;
  if (before != nullptr) {
    if (message.exchange() == before->exchange() &&
        message.routing_key() == before->routing_key()) {
      flags |= EntryFlag::route_repeated;
    }
    if (message.properties() == before->properties()) flags |= EntryFlag::properties_repeated;
  }
  return static_cast<std::uint8_t>(flags);
}

char* put_sized(char* at, ByteView octets) {
  return put_octets(put_varint(at, octets.size()), octets);
}

std::uint32_t checksum(const BlockKey& key, ByteView block) {
  return crc32c(block, crc32c(encode(key).view()));
}

}  // namespace

bool BlockBuilder::has_room_for(const Message& message, const BodyPlace& body) const {
  if (entries_ == 0) return true;
  return entries_ < kBlockEntriesMax &&
         octets_.size() + entry_bytes_max(message, body) + kChecksumBytes <= kBlockBytesMax;
}

void BlockBuilder::add(Sequence seq, const Message& message, Timestamp enqueued_at,
                       Timestamp expires_at, const BodyPlace& body) {
  if (entries_ == 0) start(seq, enqueued_at);
  const std::uint64_t gap = entries_ == 0 ? 0 : seq - last_seq_ - 1;
  std::uint8_t flags = entry_flags(message, last_, expires_at);
  if (body.id != kInBlock) flags |= EntryFlag::body_apart;
  if (!body.runs.empty()) flags |= EntryFlag::body_elsewhere;

  const std::size_t before = octets_.size();
  char* const begin = octets_.extend(entry_bytes_max(message, body));
  char* at = put_varint(begin, gap);
  at = put_fixed(at, flags);
  at = put_varint(at, zigzag((enqueued_at - last_enqueued_at_).count()));
  if (flags & EntryFlag::expires) at = put_varint(at, zigzag((expires_at - enqueued_at).count()));
  if (flags & EntryFlag::priority) at = put_fixed(at, message.priority());
  if (flags & EntryFlag::ttl) at = put_varint(at, static_cast<std::uint64_t>(message.ttl_ms()));
  if (!(flags & EntryFlag::route_repeated)) {
    at = put_sized(at, message.exchange());
    at = put_sized(at, message.routing_key());
  }
  if (!(flags & EntryFlag::properties_repeated)) at = put_sized(at, message.properties());
  at = body.id == kInBlock ? put_sized(at, message.body())
                           : put_body_place(at, body, message.body().size());
  octets_.truncate(before + static_cast<std::size_t>(at - begin));

  ++entries_;
  last_seq_ = seq;
  last_enqueued_at_ = enqueued_at;
  last_ = &message;
}

char* BlockBuilder::put_body_place(char* at, const BodyPlace& body, std::size_t octets) {
  flags_ |= kBodiesApart;
  at = put_varint(put_varint(at, body.id), octets);
  if (body.runs.empty()) return at;
  flags_ |= kBodiesElsewhere;
  at = put_varint(at, body.runs.size());
  Epoch before = 0;
  for (const BodyRun& run : body.runs) {
    at = put_varint(put_varint(at, run.epoch - before), run.chunks);
    before = run.epoch;
  }
  return at;
}

void BlockBuilder::start(Sequence seq, Timestamp enqueued_at) {
  if (octets_.capacity() > 4 * kBlockBytesMax) octets_.reset();  // a huge message came by
  octets_.clear();
  octets_.extend(kBlockHeaderBytes);
  first_seq_ = seq;
  last_enqueued_at_ = enqueued_at;
  last_ = nullptr;
  flags_ = 0;
  char* at = octets_.data();
  at = put_fixed(at, kFormat);
  at = put_fixed(at, std::uint8_t{0});   // the flags and
  at = put_fixed(at, std::uint16_t{0});  // the count, known in finish()
  at = put_fixed(at, seq);
  at = put_fixed(at, run_);
  put_fixed(at, static_cast<std::int64_t>(enqueued_at.time_since_epoch().count()));
}

ByteView BlockBuilder::finish(const BlockKey& key) {
  HARRIER_CHECK(entries_ > 0);
  put_fixed(octets_.data() + 1, flags_);
  put_fixed(octets_.data() + 2, static_cast<std::uint16_t>(entries_));
  append_fixed(octets_, checksum(key, octets_.view()));
  entries_ = 0;
  return octets_.view();
}

std::optional<BlockHeader> read_block_header(ByteView block) {
  if (block.size() < kBlockHeaderBytes + kChecksumBytes) return std::nullopt;
  OctetReader reader(block);
  if (reader.fixed<std::uint8_t>() != kFormat) return std::nullopt;
  const auto flags = reader.fixed<std::uint8_t>();
  if ((flags & ~(kBodiesElsewhere | kBodiesApart)) != 0) return std::nullopt;
  BlockHeader header{};
  header.has_bodies_apart = (flags & kBodiesApart) != 0;
  header.entries = reader.fixed<std::uint16_t>();
  header.first_seq = reader.fixed<std::uint64_t>();
  header.run = reader.fixed<std::uint64_t>();
  header.first_enqueued_at = Timestamp(Milliseconds(reader.fixed<std::int64_t>()));
  if (header.entries == 0) return std::nullopt;
  return header;
}

BlockReader::BlockReader(const BlockKey& key, ByteView block) : reader_(ByteView()), key_(key) {
  const std::optional<BlockHeader> header = read_block_header(block);
  if (!header) return;
  const ByteView covered = block.substr(0, block.size() - kChecksumBytes);
  OctetReader tail(block.substr(covered.size()));
  if (tail.fixed<std::uint32_t>() != checksum(key, covered)) return;
  ok_ = true;
  run_ = header->run;
  left_ = header->entries;
  next_seq_ = header->first_seq;
  enqueued_at_ = header->first_enqueued_at;
  reader_ = OctetReader(covered.substr(kBlockHeaderBytes));
}

std::optional<BlockEntry> BlockReader::next() {
  if (left_ == 0) {
    // The key promised where the block ends.
    if (ok_ && (reader_.left() != 0 || next_seq_ != key_.last_seq + 1)) return damaged();
    return std::nullopt;
  }
  --left_;
  BlockEntry entry{};
  entry.seq = next_seq_ + reader_.varint();
  const auto flags = reader_.fixed<std::uint8_t>();
  enqueued_at_ += Milliseconds(unzigzag(reader_.varint()));
  entry.enqueued_at = enqueued_at_;
  if (flags & EntryFlag::expires) {
    entry.expires_at = enqueued_at_ + Milliseconds(unzigzag(reader_.varint()));
  }
  parts_.persistent = (flags & EntryFlag::persistent) != 0;
  parts_.priority = flags & EntryFlag::priority ? reader_.fixed<std::uint8_t>() : std::uint8_t{0};
  parts_.ttl_ms = flags & EntryFlag::ttl ? static_cast<std::int64_t>(reader_.varint()) : -1;
  if (!(flags & EntryFlag::route_repeated)) {
    parts_.exchange = reader_.octets(reader_.varint());
    parts_.routing_key = reader_.octets(reader_.varint());
  }
  if (!(flags & EntryFlag::properties_repeated)) {
    parts_.properties = reader_.octets(reader_.varint());
  }
  entry.parts = parts_;
  if (flags & EntryFlag::body_apart) {
    read_body_place(entry, (flags & EntryFlag::body_elsewhere) != 0);
  } else {
    entry.body = reader_.octets(reader_.varint());
    entry.body_bytes = entry.body.size();
  }
  next_seq_ = entry.seq + 1;
  if (!reader_.ok()) return damaged();
  if (parts_.exchange.size() > 255 || parts_.routing_key.size() > 255) return damaged();
  return entry;
}

void BlockReader::read_body_place(BlockEntry& entry, bool in_other_epochs) {
  entry.body_place.id = reader_.varint();
  entry.body_bytes = reader_.varint();
  if (entry.body_place.id == kInBlock) reader_.fail();
  if (!in_other_epochs) return;
  std::uint64_t epoch = 0;
  for (std::uint64_t left = reader_.varint(); left > 0 && reader_.ok(); --left) {
    epoch += reader_.varint();
    const std::uint64_t chunks = reader_.varint();
    if (epoch > key_.epoch || chunks == 0 || chunks > UINT32_MAX) reader_.fail();
    entry.body_place.runs.push_back(
        {static_cast<Epoch>(epoch), static_cast<std::uint32_t>(chunks)});
  }
}

std::optional<BlockEntry> BlockReader::damaged() {
  ok_ = false;
  left_ = 0;
  reader_.fail();
  return std::nullopt;
}

}  // namespace harrier
