#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/message.h"
#include "base/result.h"
#include "base/strong_id.h"

namespace harrier {

// One priority level of one durable queue, the unit in which the store orders messages. Allocated
// by the broker, never reused.
using LaneId = StrongId<struct LaneTag, std::uint32_t>;

// Place of a message in its lane: dense at enqueue, starts at 1, never reused.
using Sequence = std::uint64_t;

// A time that is not there: expires_at of a message without a TTL.
inline constexpr Timestamp kNoTime{};

// Position of a batch among the batches of one submitter. Starts at 1; 0 means "nothing yet".
using Ticket = std::uint64_t;

// Parts of one atomic change that several shards contribute to (a fan-out or a transaction over
// queues of several shards).
using GroupId = StrongId<struct GroupTag, std::uint64_t>;

struct StoreError {
  enum class Kind {
    io,
    corruption,
    no_space,
    newer_format,
    locked,
    unusable
  };
  Kind kind;
  std::string detail;  // one line that names the place and the mend
};

// What one turn of a shard wants durable, recorded in order. A batch is written whole or not at
// all. Owned by one thread at a time: the shard records, then hands it to Store::submit.
class StoreBatch {
 public:
  // A persistent message entered a durable queue. `message` is shared until the batch is written.
  // The sequences of a lane ascend from put to put; those left out in between (transient messages)
  // count as settled and need no settle().
  void put(LaneId lane, Sequence seq, MessageRef message, Timestamp enqueued_at,
           Timestamp expires_at);
  // The entry left its queue for good. If its put is not written yet, neither ever will be.
  // Sequences of entries that were never put are allowed.
  void settle(LaneId lane, Sequence seq);
  // Every entry below `floor` left.
  void settle_below(LaneId lane, Sequence floor);
  // The queue is gone with all its entries. Its id never comes back: later operations on it are
  // ignored.
  void drop_lane(LaneId lane);
  // Entries below `delivered` may have been seen by a consumer (written on a clean stop so that
  // `redelivered` stays honest; after a crash every recovered entry counts as delivered).
  void delivered_below(LaneId lane, Sequence delivered);
  // Definitions: queue, exchange, binding, ... records. Keys are chosen by the broker.
  void put_record(std::string key, std::string value);
  void delete_record(std::string key);
  // This batch holds one of `parts` parts of `group`: none of them may become durable without the
  // others. The store delays this batch, and all that come after it, until every part is submitted;
  // only where groups overlap without end does it go on after some milliseconds (CommitLimits).
  void join_group(GroupId group, std::uint32_t parts);

  // Somebody waits for this batch (a confirm, a declare-ok, a commit-ok): sync without delay.
  void want_sync() { sync_wanted_ = true; }

  // Nothing to write and no group that waits for this part. A wish to sync does not count.
  bool empty() const { return operations_.empty() && groups_.empty(); }

  // Octets of the messages in it, roughly: what a commit is limited by.
  std::size_t bytes() const { return bytes_; }

  void clear();

  struct Operation {
    enum class Kind : std::uint8_t {
      put,
      settle,
      settle_below,
      drop_lane,
      delivered_below,
      put_record,
      delete_record
    };
    Kind kind;
    LaneId lane{};
    Sequence seq = 0;
    MessageRef message{};
    Timestamp enqueued_at{};
    Timestamp expires_at{};
    std::uint32_t record = 0;  // index into records(), of put_record and delete_record
  };

  struct Record {
    std::string key, value;
  };

  struct GroupPart {
    GroupId group;
    std::uint32_t parts = 0;
  };

  const std::vector<Operation>& operations() const { return operations_; }

  const std::vector<Record>& records() const { return records_; }

  const std::vector<GroupPart>& groups() const { return groups_; }

  bool sync_wanted() const { return sync_wanted_; }

 private:
  std::vector<Operation> operations_;
  std::vector<Record> records_;
  std::vector<GroupPart> groups_;
  std::size_t bytes_ = 0;
  bool sync_wanted_ = false;
};

// A stored entry as it comes back after a restart.
struct RecoveredEntry {
  LaneId lane;
  Sequence seq;
  MessageRef message;
  Timestamp enqueued_at;
  Timestamp expires_at;
  bool redelivered;  // may have been delivered before the restart
};

// Sequences a recovered lane must go on from. `next_seq` is above everything put, settled or
// delivered that left a trace, also where nothing is left of the entries. Only entries settled
// before they were ever written leave none; after a crash their sequences may be given out again.
struct RecoveredLane {
  LaneId lane;
  Sequence next_seq = 1;
};

// Where a submitter hears that its batches are durable. Both run on the store's own thread (on the
// submitting thread in the memory store) and must not block.
struct StoreListener {
  // Every batch up to and including `durable` survives kill -9 and power loss.
  std::function<void(Ticket durable)> on_durable;
  // No batch beyond the last durable one can be relied upon any more. Called once, nothing after.
  std::function<void(const StoreError&)> on_failure;
};

using SubmitterId = StrongId<struct SubmitterTag, std::uint32_t>;

// Durable home of messages and definitions. Knows lanes and sequence numbers, not queues.
// Life: open, recover (the three scans, single threaded), add submitters, submit, stop.
class Store {
 public:
  virtual ~Store() = default;

  // Calls `visit(key, value)` for every record whose key starts with `prefix`, in key order.
  using RecordVisitor = std::function<void(std::string_view key, std::string_view value)>;
  virtual Result<void, StoreError> scan_records(std::string_view prefix,
                                                const RecordVisitor& visit) = 0;
  // Keeps only these lanes; entries of any other are removed. Returns where each goes on.
  virtual Result<std::vector<RecoveredLane>, StoreError> recover_lanes(
      const std::vector<LaneId>& live) = 0;
  // Visits every unsettled entry of the lanes named to recover_lanes: ascending within a lane, the
  // lanes interleaved. Reads the whole backlog, one pass in disk order.
  using EntryVisitor = std::function<void(RecoveredEntry&&)>;
  virtual Result<void, StoreError> scan_entries(const EntryVisitor& visit) = 0;

  // After the scans and before the first submit of any submitter.
  virtual SubmitterId add_submitter(StoreListener listener) = 0;

  // Takes the batch (leaves it cleared, with its memory for reuse where possible) and returns its
  // ticket. Thread safe between submitters; batches of one submitter become durable in order, and
  // batches of different submitters in the order of their submit calls.
  virtual Ticket submit(SubmitterId submitter, StoreBatch& batch) = 0;

  // Writes and syncs everything submitted, leaves the clean-stop mark. Idempotent. No submit may
  // come after it. A store destroyed without it is like one whose process was killed.
  virtual void stop() = 0;
};

}  // namespace harrier
