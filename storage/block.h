#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/message.h"
#include "storage/keys.h"
#include "storage/octets.h"
#include "storage/store.h"

namespace harrier {

// A block holds consecutive messages of one lane, all of one commit: RocksDB's cost is per key, so
// a message never has a key of its own. Numbers are little endian.
//
//   OFFSET  SIZE  DESCRIPTION
//        0     1  format, 1
//        1     1  flags: 1 there are bodies in other epochs, 2 there are bodies apart
//        2     2  number of entries, at least 1
//        4     8  sequence of the first entry
//       12     8  run of the store that wrote it (meta note `run`)
//       20     8  time the first entry was enqueued, ms since 1970
//       28     *  entries
//   end-4      4  crc32c of the key followed by everything before this field
//
// Entry ("v" is a varint, "z" a zigzag varint):
//        v  sequence - sequence of the entry before - 1; 0 in the first entry
//        1  flags: 1 persistent (others count only in the run that wrote them), 2 expires,
//           4 priority, 8 ttl, 16 route as in the entry before, 32 properties as in it,
//           64 body apart, 128 in other epochs (only with 64)
//        z  time enqueued - that of the entry before, ms; 0 in the first entry
//        z  if expires: time it expires - time enqueued, ms
//        1  if priority: priority
//        v  if ttl: expiration as published, ms
//      v,*  unless route as before: exchange
//      v,*  unless route as before: routing key
//      v,*  unless properties as before: properties as received
//      v,*  unless body apart: body
//      v,v  if body apart: its id (body_store.h), its octets
//        v  if in other epochs: number of runs, ascending epochs
//      v,v  per run: epoch - epoch of the run before, chunks of the body in it, at least 1

inline constexpr std::size_t kBlockHeaderBytes = 28;
inline constexpr std::size_t kBlockBytesMax = 64 << 10;  // one message may exceed it
inline constexpr std::size_t kBlockEntriesMax = 65535;

// Where the body of an entry lies.
struct BodyPlace {
  BodyId id = kInBlock;
  std::vector<BodyRun> runs{};  // empty: all of it in the epoch of the block

  // Whether a part of it lies apart in the epoch of the block, which is `own`.
  bool is_in(Epoch own) const {
    return id != kInBlock && (runs.empty() || runs.back().epoch == own);
  }
};

// Packs messages of one lane into blocks. Used over and over by one thread.
class BlockBuilder {
 public:
  explicit BlockBuilder(std::uint64_t run) : run_(run) {}

  bool empty() const { return entries_ == 0; }

  std::size_t entries() const { return entries_; }

  Sequence first_seq() const { return first_seq_; }

  Sequence last_seq() const { return last_seq_; }

  // Whether `message` may still join this block. An empty block takes any message.
  bool has_room_for(const Message& message, const BodyPlace& body = {}) const;

  // `seq` must be above last_seq(); `message` must live until finish(). `body`: where its body lies
  // if not in the block.
  void add(Sequence seq, const Message& message, Timestamp enqueued_at, Timestamp expires_at,
           const BodyPlace& body = {});

  // The value to be stored under `key`, valid until the next add(), which starts a new block.
  ByteView finish(const BlockKey& key);

 private:
  void start(Sequence seq, Timestamp enqueued_at);
  char* put_body_place(char* at, const BodyPlace& body, std::size_t octets);

  std::uint64_t run_;
  Buffer octets_;
  std::size_t entries_ = 0;
  Sequence first_seq_ = 0;
  Sequence last_seq_ = 0;
  std::uint8_t flags_ = 0;
  Timestamp last_enqueued_at_{};
  const Message* last_ = nullptr;  // whose route and properties the next entry may repeat
};

struct BlockHeader {
  std::size_t entries = 0;
  Sequence first_seq = 0;
  std::uint64_t run = 0;
  Timestamp first_enqueued_at;
  bool has_bodies_apart = false;
};

// None if these octets cannot be a block. Does not look at the checksum.
std::optional<BlockHeader> read_block_header(ByteView block);

struct BlockEntry {
  Sequence seq = 0;
  MessageParts parts;
  ByteView body;         // empty if it lies apart
  BodyPlace body_place;  // where
  std::uint64_t body_bytes = 0;
  Timestamp enqueued_at;
  Timestamp expires_at;
};

// Walks the entries of a stored block. Views point into the block.
class BlockReader {
 public:
  // Checks the header and the checksum; then ok() tells whether the block can be believed.
  BlockReader(const BlockKey& key, ByteView block);

  bool ok() const { return ok_; }

  // Of the store, when the block was written.
  std::uint64_t run() const { return run_; }

  // The next entry, or none at the end. None too when the entries contradict the header: test ok()
  // after the walk.
  std::optional<BlockEntry> next();

 private:
  void read_body_place(BlockEntry& entry, bool in_other_epochs);
  std::optional<BlockEntry> damaged();

  OctetReader reader_;
  BlockKey key_;
  bool ok_ = false;
  std::uint64_t run_ = 0;
  std::size_t left_ = 0;
  Sequence next_seq_ = 0;
  Timestamp enqueued_at_{};
  MessageParts parts_;
};

}  // namespace harrier
