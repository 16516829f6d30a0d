#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "storage/block.h"
#include "storage/columns.h"
#include "storage/keys.h"
#include "storage/store.h"

namespace rocksdb {
class Iterator;
class WriteBatch;
}  // namespace rocksdb

namespace harrier {

// Bodies that lie apart from the blocks, in `sh`: those that several lanes get in one commit, where
// writing them once saves enough, and very large ones, so that no value gets as large as they. The
// entries in the blocks have the body's id. Its epoch is theirs, unless it was staged
// (staged_bodies.h): then they say which chunks lie in which epoch. Nothing else refers to a body:
// it goes when no unsettled entry has a body in its epoch any more.
//
// Chunk: the octets from chunk * 256 KiB on, the last chunk takes what is left.
//   OFFSET  SIZE  DESCRIPTION
//        0     1  format, 1
//        1     *  octets of the body
//    end-4     4  crc32c of the key followed by everything before this field

inline constexpr std::size_t kBodyChunkBytes = kBodyPartUnit;
inline constexpr std::size_t kBodyInBlockMax = 1 << 20;   // larger ones always lie apart
inline constexpr std::size_t kSharingSavesMin = 1 << 10;  // octets; less is not worth a key

// Writes chunks of the body `octets` from the one with the number in `first` on, as many as lie
// below `end`.
void write_chunks(BodyKey first, ByteView octets, std::size_t end, rocksdb::WriteBatch& batch,
                  rocksdb::ColumnFamilyHandle* column);

// Decides which bodies of a commit lie apart and writes them. First all puts of the commit are
// noted, then the survivors counted, then each is placed.
class BodyWriter {
 public:
  void start_commit();

  // `from_group`: its batch is a part of a change over several shards, so the same message may
  // come again anywhere in the commit. Otherwise copies for several lanes follow one another.
  enum class Origin {
    alone,
    from_group
  };
  void note(const Message& message, Origin origin);

  // Whether survivors need to be counted at all.
  bool has_candidates() const { return !bodies_.empty(); }

  void count(const Message& message);

  // For a body that somebody else writes.
  BodyId take_id() { return ++last_id_; }

  // Writes the body into `batch` if it is to lie apart and is not there yet. Returns its id, or
  // kInBlock.
  BodyId place(const Message& message, Epoch epoch, rocksdb::WriteBatch& batch,
               rocksdb::ColumnFamilyHandle* column);

 private:
  struct Body {
    std::uint64_t lanes = 0;
    BodyId id = kInBlock;
  };

  std::unordered_map<const Message*, Body> bodies_;  // candidates of the commit at hand
  const Message* last_ = nullptr;
  BodyId last_id_ = kInBlock;  // in this run, so also in any epoch of it
};

// Puts messages together again. For one page or scan: keeps its view of the database.
class BodyReader {
 public:
  explicit BodyReader(const Columns& columns);
  ~BodyReader();

  // Null when the body of an entry of a block in `epoch` is missing or damaged.
  MessageRef message(Epoch epoch, const BlockEntry& entry);

  // Whether the last body was missed for another reason than that it is missing or damaged.
  std::optional<StoreError> read_error() const;

  // Whether an epoch in which chunks of the body of an entry of a block in `epoch` lay is gone as a
  // whole: all that needed it is settled.
  bool is_collected(Epoch epoch, const BlockEntry& entry) const;

 private:
  bool holds_bodies(Epoch epoch) const;
  bool read_body(Epoch epoch, const BlockEntry& entry, char* out);
  bool seek(const BodyKey& key);

  const Columns& columns_;
  std::unique_ptr<rocksdb::Iterator> chunks_;
};

}  // namespace harrier
