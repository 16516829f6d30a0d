#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "storage/commit_mark.h"

namespace harrier {

struct LogPlace {
  std::uint64_t log = 0;  // number of the file
  std::uint64_t offset = 0;
};

// Judges the logs that RocksDB is going to replay, as one chain of records: each goes on with the
// sequence number at which the one before ended, in its own log or the next. Where the chain breaks
// something is lost. What is behind the break tells whether the lost part had been synced: a mark
// (commit_mark.h) that says so, or one of a later run, which began with a sync of all there was.
// Nothing behind a break may be replayed.
class LogChain {
 public:
  // `logs` ascend from call to call. At least `synced_bytes` of the file are known to be synced.
  void add(std::uint64_t log, std::uint64_t synced_bytes, ByteView octets);

  struct Verdict {
    bool synced_lost = false;  // otherwise only what was never confirmed
    LogPlace cut;              // where the readable part ends
    LogPlace place;            // of the damage or gap
    bool is_damage = false;    // or a gap
    bool is_end = false;       // nothing readable is behind it
    std::string commits;       // that are lost, in words
  };

  // None if nothing is missing.
  std::optional<Verdict> judge() const;

  // Ends of logs in front of any break that hold nothing readable.
  const std::vector<LogPlace>& idle_ends() const { return idle_ends_; }

 private:
  struct Damage {
    LogPlace place;
    bool was_synced = false;
  };

  // The chain is broken: what the records behind the break say.
  struct Break {
    std::optional<CommitMark> next;  // first mark behind it
    bool was_synced = false;
  };

  void take(std::uint64_t log, const LoggedBatch& batch, std::uint64_t end, bool opens_log);
  void take_damage(LogPlace place, bool was_synced);
  void take_behind_break(std::uint64_t log, const LoggedBatch& batch);
  bool goes_on_with(std::uint64_t log, const LoggedBatch& batch) const;
  bool proves_synced(std::uint64_t log, const LoggedBatch& batch) const;
  LogPlace cut() const;
  std::string lost_commits() const;

  std::optional<LogPlace> last_;               // end of the last record of the chain
  std::optional<CommitMark> last_mark_;        // the last one in the chain
  std::optional<std::uint64_t> expected_seq_;  // of the next record, if that is certain
  std::optional<Damage> damage_;               // behind last_
  std::optional<Break> break_;
  std::vector<LogPlace> idle_ends_;
};

}  // namespace harrier
