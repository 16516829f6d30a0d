#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/message.h"
#include "base/result.h"
#include "base/strong_id.h"
#include "base/task.h"

namespace harrier {

// One priority level of one queue, the unit in which the store orders messages. Allocated by the
// broker, never reused.
using LaneId = StrongId<struct LaneTag, std::uint32_t>;

// Place of a message in its lane: dense at enqueue, starts at 1, never reused.
using Sequence = std::uint64_t;

// A time that is not there: expires_at of a message without a TTL.
inline constexpr Timestamp kNoTime{};

// How many persistent entries of a lane, and the octets of their bodies. Transient entries, which a
// restart forgets, are not counted.
struct Tally {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;

  Tally& operator+=(const Tally& other) {
    entries += other.entries;
    bytes += other.bytes;
    return *this;
  }

  Tally& operator-=(const Tally& other) {
    entries -= other.entries;
    bytes -= other.bytes;
    return *this;
  }

  friend bool operator==(const Tally&, const Tally&) = default;
};

// What a put of `message` adds.
inline Tally tally_of(const Message& message) {
  return message.persistent() ? Tally{1, message.body().size()} : Tally{};
}

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

// What the parts of a staged body are cut at.
inline constexpr std::size_t kBodyPartUnit = 256 << 10;

// What one turn of a shard wants durable, recorded in order. A batch is written whole or not at
// all. Owned by one thread at a time: the shard records, then hands it to Store::submit.
class StoreBatch {
 public:
  // A message entered a queue, or was paged out. `message` is shared until the batch is written. A
  // transient one is kept for reading back in this run of the store only. The sequences of a lane
  // ascend from put to put; those left out in between count as settled and need no settle().
  void put(LaneId lane, Sequence seq, MessageRef message, Timestamp enqueued_at,
           Timestamp expires_at);
  // The entry left its queue for good; `was` is what its put had added. If the put is not written
  // yet, neither ever will be. Sequences of entries that were never put are allowed, with an empty
  // tally.
  void settle(LaneId lane, Sequence seq, Tally was);
  // All entries from `begin` up to but not including `end` left; `were` is what their puts had
  // added, less what was settled before.
  void settle_range(LaneId lane, Sequence begin, Sequence end, Tally were);
  // The queue is gone with all its entries. Its id never comes back: later operations on it are
  // ignored.
  void drop_lane(LaneId lane);
  // Entries below `delivered` may have been seen by a consumer (written on a clean stop so that
  // `redelivered` stays honest; after a crash every recovered entry counts as delivered).
  void delivered_below(LaneId lane, Sequence delivered);
  // A part of the body of a persistent message that will be put later, so that a huge body need not
  // be one commit. `body`: chosen by the caller, unique in a run of the store. The parts come in
  // order and without gaps; `offset` and, but for the last part, `octets` are multiples of
  // kBodyPartUnit. Once all are durable and the message knows (Message::set_stored_body), a put of
  // it costs the store no more than that of a small message. The put is right in any case: where
  // the store does not know the body, or not all of it, the put writes it. What is staged lives
  // until the end of the commit with the first put, or until unstage().
  void stage(BodyNumber body, MessageRef message, std::size_t offset, std::size_t octets);
  // No put of the body will come in a later commit. Allowed for a body the store does not know.
  void unstage(BodyNumber body);
  // Definitions: queue, exchange, binding, ... records. Keys are chosen by the broker.
  void put_record(std::string key, std::string value);
  void delete_record(std::string key);
  // This batch holds one of `parts` parts of `group`: none of them may become durable without the
  // others. The store delays this batch, and all that come after it, until every part is submitted.
  // Where groups overlap without end it asks for a pause (StoreListener::on_group_hold).
  void join_group(GroupId group, std::uint32_t parts);

  // Somebody waits for this batch (a confirm, a declare-ok, a commit-ok): sync without delay.
  void want_sync() { sync_wanted_ = true; }

  // Nothing to write and no group that waits for this part. A wish to sync does not count.
  bool empty() const { return operations_.empty() && groups_.empty(); }

  // Octets of the messages in it, roughly, but for bodies the store should have already: what a
  // commit is limited by.
  std::size_t bytes() const { return bytes_; }

  // Whether a put counts on a body to be staged.
  bool has_staged_puts() const { return has_staged_puts_; }

  void clear();

  struct Operation {
    enum class Kind : std::uint8_t {
      put,
      settle,
      settle_range,
      drop_lane,
      delivered_below,
      put_record,
      delete_record,
      stage,
      unstage
    };
    Kind kind;
    LaneId lane{};
    Sequence seq = 0;
    MessageRef message{};
    Timestamp enqueued_at{};
    Timestamp expires_at{};
    Sequence end = 0;  // of settle_range
    Tally tally{};     // of settle and settle_range
    // Index into records(), of put_record and delete_record; into parts(), of stage and unstage.
    std::uint32_t record = 0;
  };

  struct Record {
    std::string key, value;
  };

  struct BodyPart {
    BodyNumber body;
    std::size_t offset = 0;
    std::size_t octets = 0;
  };

  struct GroupPart {
    GroupId group;
    std::uint32_t parts = 0;
  };

  const std::vector<Operation>& operations() const { return operations_; }

  const std::vector<Record>& records() const { return records_; }

  const std::vector<BodyPart>& parts() const { return parts_; }

  const std::vector<GroupPart>& groups() const { return groups_; }

  bool sync_wanted() const { return sync_wanted_; }

 private:
  std::vector<Operation> operations_;
  std::vector<Record> records_;
  std::vector<BodyPart> parts_;
  std::vector<GroupPart> groups_;
  std::size_t bytes_ = 0;
  bool sync_wanted_ = false;
  bool has_staged_puts_ = false;
};

// An entry as it comes back from the store.
struct StoredEntry {
  LaneId lane;
  Sequence seq = 0;
  MessageRef message;
  Timestamp enqueued_at;
  Timestamp expires_at;
  bool redelivered = false;  // may have been delivered before the last start
};

// A lane as the last run of the store left it.
struct RecoveredLane {
  LaneId lane;
  // No entry below is left.
  Sequence first_seq = 1;
  // To go on from. Above everything put, settled or delivered that left a trace, also where nothing
  // is left of the entries. Only entries settled before they were ever written leave none; after a
  // crash their sequences may be given out again.
  Sequence next_seq = 1;
  // What is left in it.
  Tally tally;
};

// Which part of a lane to read back.
struct PageRequest {
  LaneId lane;
  Sequence from = 0;
  Sequence end = 0;                 // above `from`; not looked at itself
  std::size_t bytes_max = 1 << 20;  // of memory for the messages, about; at least one entry comes
};

// Part of a lane that was read back.
struct LanePage {
  std::vector<StoredEntry> entries;  // ascending
  // Everything from the request's `from` up to here that is not among the entries is settled, or
  // transient and from before the last start, or damaged where that is accepted. The request's
  // `end` when all was read.
  Sequence next = 0;
  // The entry at or behind `next` cannot be read: the store is damaged there.
  std::optional<StoreError> damage;
};

// Where a submitter hears that its batches are durable. Both run on the store's own thread (on the
// submitting thread in the memory store) and must not block.
struct StoreListener {
  // Every batch up to and including `durable` survives kill -9 and power loss.
  std::function<void(Ticket durable)> on_durable;
  // No batch beyond the last durable one can be relied upon any more. Called once, nothing after.
  std::function<void(const StoreError&)> on_failure;
  // Groups overlap so that none of them can be written without tearing another: until this is
  // called with false no new group is to be begun. Parts of those begun are to be submitted.
  std::function<void(bool hold)> on_group_hold{};
  // The disk is full, or no longer: until then nothing becomes durable and batches pile up in
  // memory, so those who fill them should be stopped. Nothing is lost. Called in turns, true first.
  std::function<void(bool is_full)> on_space{};
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
  // Visits every unsettled persistent entry of the lanes named to recover_lanes: ascending within a
  // lane, the lanes interleaved. Reads the whole backlog, one pass in disk order: for checks and
  // tests, a broker reads pages.
  using EntryVisitor = std::function<void(StoredEntry&&)>;
  virtual Result<void, StoreError> scan_entries(const EntryVisitor& visit) = 0;

  // After the scans and before the first submit of any submitter.
  virtual SubmitterId add_submitter(StoreListener listener) = 0;

  // Takes the batch (leaves it cleared, with its memory for reuse where possible) and returns its
  // ticket. Thread safe between submitters; batches of one submitter become durable in order, and
  // batches of different submitters in the order of their submit calls.
  virtual Ticket submit(SubmitterId submitter, StoreBatch& batch) = 0;

  // Reads entries of a lane back, as they are after every batch that was submitted before this
  // call; entries those settle may come all the same while a group or a full disk holds them back.
  // `done` runs on a thread of the store (in the memory store on the calling one, maybe
  // within this call) and must not block; it never runs when the store stops or fails first.
  // Entries the caller settles meanwhile may come or not. Thread safe.
  using PageReader = UniqueFunction<void(LanePage&&)>;
  virtual void read(const PageRequest& request, PageReader done) = 0;

  // Copies the store as it is after some commit from now on to `directory`, which must be empty or
  // not there; a start on the copy restores it. Files are hard links where the file system allows.
  // Does not wait: `done` runs on the store's own thread (on the calling one in case of an early
  // error) and must not block. Commits wait meanwhile. Thread safe, not after stop(). Errors:
  // unusable, io, no_space. They concern the copy only, what is left of it is removed.
  using CopyDone = std::function<void(Result<void, StoreError>)>;
  virtual void copy_to(std::string directory, CopyDone done) = 0;

  // Writes and syncs everything submitted, leaves the clean-stop mark. Idempotent. No submit may
  // come after it. A store destroyed without it is like one whose process was killed; so is one in
  // which a group misses a part: what came after its begin is given up.
  virtual void stop() = 0;
};

}  // namespace harrier
