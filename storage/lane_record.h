#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "storage/keys.h"
#include "storage/lane_states.h"

namespace harrier {

// What happened to lanes, in the two ways it is stored. "v" is a varint; crc32c is 4 octets little
// endian over the key followed by everything before it.
//
// Ack record: which lanes one commit changed, and all that it settled. Replaying one twice, or one
// that a snapshot knows already before later ones, changes nothing.
//   OFFSET  SIZE  DESCRIPTION
//        0     1  format, 1
//        1     *  lanes, up to the checksum; a lane may occur again, order counts
//                   v  lane
//                   1  flags: 1 dropped, 2 delivered
//                   v  if delivered: entries below may have been delivered
//                 v,v  unless dropped: persistent entries in the lane from now on, their octets
//                   v  number of settled ranges
//                 v,v  per range: begin - end of the range before (0 at first), length
//    end-4     4  crc32c
//
// Lane snapshot: the whole state of one lane.
//        0     1  format, 1
//        1     v  next sequence to give out
//        *     v  next sequence to put
//        *     v  entries below may have been delivered
//        *   v,v  persistent entries, octets of their bodies
//        *     v  floor: everything below is settled
//        *     v  number of settled ranges above
//        *   v,v  per range: begin - end of the range before (the floor at first), length
//        *     v  number of runs
//        *   7*v  per run: epoch - epoch of the run before, first sequence, last - first, entries,
//                 octets; begin and length of the range with all bodies apart in that epoch
//        *     v  number of uses: epochs in which bodies lie whose entries are in a later one
//        *   v,v  per use: sequence of the entry - that of the use before, epoch
//    end-4     4  crc32c

// One lane's part of an ack record.
struct LaneChange {
  LaneId lane;
  bool dropped = false;
  std::optional<Sequence> delivered;
  Tally tally;  // of the whole lane, after the change
  std::vector<SequenceRange> settled;
};

// Collects lane changes, over several commits if they may wait.
class AckRecordBuilder {
 public:
  AckRecordBuilder();

  // Nothing changed since the last finish().
  bool empty() const { return finished_ || octets_.size() == 1; }

  std::size_t bytes() const { return finished_ ? 0 : octets_.size(); }

  void changed(LaneId lane, std::span<const SequenceRange> normalized,
               std::optional<Sequence> delivered, const Tally& tally);
  void dropped(LaneId lane);

  // The value to be stored under `key`, valid until the next change, which starts a new record.
  ByteView finish(const AckKey& key);

 private:
  void start_unless_started();

  Buffer octets_;
  bool finished_ = false;
};

// Calls `visit` for each lane of a stored record in order; the argument is reused. False if the
// octets are damaged; the lanes before the damage were visited then.
bool read_ack_record(const AckKey& key, ByteView record,
                     const std::function<void(const LaneChange&)>& visit);

// Replaces `out` by the snapshot of `lane`.
void write_lane_snapshot(const LaneState& lane, Buffer& out);

// None if the octets are damaged.
std::optional<LaneState> read_lane_snapshot(LaneId lane, ByteView snapshot);

}  // namespace harrier
