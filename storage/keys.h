#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "storage/store.h"

namespace harrier {

// Keys of the five column families. Numbers in keys are big endian, so that the order of the octets
// is the order of the numbers. docs/storage_format.md has the picture.
//
// msg: one block of messages of one lane (block.h)
//   OFFSET  SIZE  DESCRIPTION
//        0     4  epoch
//        4     4  lane
//        8     8  sequence of the last message in the block
//
// ack: everything one commit settled (lane_record.h)
//        0     4  epoch
//        4     8  number of the commit, from 1 in every run of the store
//
// qs: state of one lane as of some moment in the checkpoint's epoch or later (lane_record.h)
//        0     4  lane
//
// sh: one chunk of a body that lies apart from its blocks (body_store.h)
//        0     4  epoch in which it was written
//        4     8  body id
//       12     2  number of the chunk
//
// meta: definitions and the store's own notes
//        0     1  'd' definition, 's' note of the store
//        1     *  key given to StoreBatch::put_record, or the name of the note
//
// An epoch is the time between two switches of the memtable. It leads the key, so that the files of
// different epochs never overlap and whole files can be dropped.

using Epoch = std::uint32_t;

struct BlockKey {
  Epoch epoch = 0;
  LaneId lane;
  Sequence last_seq = 0;

  // NOLINTNEXTLINE(modernize-use-nullptr): it mistakes the comparison's 0 for a pointer
  friend auto operator<=>(const BlockKey&, const BlockKey&) = default;
};

struct AckKey {
  Epoch epoch = 0;
  std::uint64_t commit = 0;

  // NOLINTNEXTLINE(modernize-use-nullptr)
  friend auto operator<=>(const AckKey&, const AckKey&) = default;
};

// Of a body that lies apart; unique within an epoch.
using BodyId = std::uint64_t;
inline constexpr BodyId kInBlock = 0;  // of bodies that do not

// So many chunks of a body, written in one epoch.
struct BodyRun {
  Epoch epoch = 0;
  std::uint32_t chunks = 0;

  friend bool operator==(const BodyRun&, const BodyRun&) = default;
};

struct BodyKey {
  Epoch epoch = 0;
  BodyId body = kInBlock;
  std::uint16_t chunk = 0;

  friend auto operator<=>(const BodyKey&, const BodyKey&) = default;
};

// Octets of a key, on the stack.
template <std::size_t kSize>
struct KeyOctets {
  std::array<char, kSize> octets;

  ByteView view() const { return {octets.data(), kSize}; }
};

KeyOctets<16> encode(const BlockKey& key);
KeyOctets<12> encode(const AckKey& key);
KeyOctets<14> encode(const BodyKey& key);
KeyOctets<4> encode(LaneId lane);
KeyOctets<4> encode_epoch(Epoch epoch);  // the start of every msg, sh and ack key of that epoch

// For error texts.
std::string to_hex(ByteView octets);
std::string block_place(ByteView key);  // of a block

// None for octets that no encode() made.
std::optional<BlockKey> decode_block_key(ByteView octets);
std::optional<AckKey> decode_ack_key(ByteView octets);
std::optional<LaneId> decode_lane_key(ByteView octets);
std::optional<Epoch> decode_leading_epoch(ByteView octets);

inline constexpr std::string_view kDefinitionPrefix = "d";
std::string definition_key(std::string_view key);

// Notes of the store, in meta. Values are one little-endian number of 8 octets.
inline constexpr std::string_view kCheckpointKey =
    "scheckpoint";                                           // ack and msg are replayed from here
inline constexpr std::string_view kRunKey = "srun";          // times the store was opened
inline constexpr std::string_view kCleanStopKey = "sclean";  // the run that was stopped cleanly

std::string encode_note(std::uint64_t value);
std::optional<std::uint64_t> decode_note(ByteView octets);

}  // namespace harrier
