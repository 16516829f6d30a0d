#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "storage/store.h"

namespace harrier {

// Where the commit loop puts batches: the RocksDB writer, a fake in tests. Used by one thread at a
// time. After an error nothing is called any more but end_reads(), the destructor, and, if it was
// no_space, heal() and read().
class CommitTarget {
 public:
  virtual ~CommitTarget() = default;

  // Writes all of `batches` or nothing of them. The result is the number of octets written by this
  // and earlier calls that are not synced yet: with 0 everything so far survives a power loss.
  virtual Result<std::uint64_t, StoreError> write(std::span<StoreBatch> batches) = 0;

  // Makes everything written survive a power loss.
  virtual Result<void, StoreError> sync() = 0;

  // Upkeep, called when everything is synced and told; `idle` after a minute without a batch.
  virtual Result<void, StoreError> tidy(bool idle) = 0;

  // Everything is synced and nothing will follow: leave the mark of a clean stop.
  virtual Result<void, StoreError> close() = 0;

  // Starts to read a page as of all that was written up to now. `done` runs later, on another
  // thread.
  virtual void read(const PageRequest& request, Store::PageReader done) = 0;

  // After this no `done` runs any more; later reads are ignored.
  virtual void end_reads() = 0;

  // Everything is synced: copy it (see Store::copy_to). The outer error is the end of the target
  // like any other, the inner one concerns the copy alone.
  using CopyResult = Result<Result<void, StoreError>, StoreError>;
  virtual CopyResult copy_to(const std::string& directory) = 0;

  // After a no_space error of any of these calls or of this one: begins anew with what the disk
  // has. That is everything up to the last sync and maybe more. The caller then writes again what
  // came after that sync, as one commit; what is already there is left as it is. A target that
  // cannot begin anew leaves this as it is: then a full disk is an error like any other.
  virtual Result<void, StoreError> heal();
};

struct CommitLimits {
  std::size_t bytes_max = 4 << 20;     // of messages in one commit, unless one batch has more
  std::size_t operations_max = 32768;  // likewise
  std::uint64_t unsynced_bytes_max = 4 << 20;
  std::chrono::milliseconds unsynced_time_max{100};
  std::chrono::milliseconds idle_after{60'000};
  // How long open groups may hold back a commit before no new ones are to be begun.
  std::chrono::milliseconds group_wait_max{10};
  std::chrono::milliseconds heal_pause{250};  // between attempts to go on after a full disk
};

// Collects the batches of all submitters and commits them on a thread of its own. What arrives
// during one write and sync makes up the next commit, so there is no delay to tune: a lone batch is
// written at once, many share one sync.
//
// A commit is a prefix of the submitted batches in which every group is complete. Groups that
// overlap without end would leave no such prefix: after group_wait_max submitters are asked to
// begin no new ones until the batches that wait are written. Tickets become durable in order; the
// first error of the target ends the life of the loop, unless the disk is full: then the loop waits
// for space and writes again what is not synced.
class CommitLoop {
 public:
  explicit CommitLoop(CommitTarget& target, CommitLimits limits = {});
  // Ends the thread after the commit at hand; what is only submitted is lost. Use stop() to keep
  // it.
  ~CommitLoop();
  CommitLoop(const CommitLoop&) = delete;
  CommitLoop& operator=(const CommitLoop&) = delete;

  // See Store. The thread starts at the first submit().
  SubmitterId add_submitter(StoreListener listener);
  Ticket submit(SubmitterId submitter, StoreBatch& batch);
  void read(const PageRequest& request, Store::PageReader done);

  void copy_to(std::string directory, Store::CopyDone done);
  void stop();

 private:
  using Clock = std::chrono::steady_clock;

  struct Submitter {
    StoreListener listener;
    Ticket last = 0;     // under mutex_
    Ticket written = 0;  // committer thread, as the rest
    Ticket announced = 0;
  };

  struct CopyRequest {
    std::string directory;
    Store::CopyDone done;
  };

  // Says where the batch of the same index comes from.
  struct Origin {
    SubmitterId submitter;
    Ticket ticket = 0;
    bool closes_prefix = false;  // no group is incomplete after this batch
  };

  struct PendingRead {
    std::uint64_t after = 0;  // this many batches, in the order of their submission
    PageRequest request;
    Store::PageReader done;
  };

  enum class Ending {
    none,
    abandon,
    drain
  };
  enum class Wake {
    batches,
    sync_due,
    idle,
    copy,
    abandon,
    drain
  };

  void start_thread();
  void run();
  Wake await_batches();
  void take_inbox();
  void scan_groups(std::size_t first);
  std::size_t choose_commit() const;
  void watch_groups();
  void hold_groups(bool hold);
  Result<void, StoreError> commit_waiting();
  Result<void, StoreError> commit(std::size_t count);
  Result<void, StoreError> write(std::span<StoreBatch> taken);
  Result<void, StoreError> sync();
  Result<void, StoreError> copy();
  Result<void, StoreError> heal(StoreError error);
  Result<void, StoreError> write_again();
  Ending await_space();
  bool is_abandoned();
  void tell_space(bool is_full);
  Result<void, StoreError> finish();
  void announce();
  void read_pages();
  void read_pages_ahead();
  std::unordered_map<LaneId, Sequence> first_missing_puts() const;
  void give_up(const StoreError& error);
  void take(std::size_t count);
  void recycle();
  Clock::time_point wake_at() const;

  CommitTarget& target_;
  const CommitLimits limits_;

  std::mutex mutex_;  // the members up to the next comment
  std::condition_variable arrived_;
  std::vector<StoreBatch> inbox_;
  std::vector<Origin> inbox_origins_;
  std::uint64_t submitted_ = 0;  // batches, ever
  std::vector<PendingRead> inbox_reads_;
  std::vector<StoreBatch> spare_;  // cleared ones, to give their memory back to submitters
  std::deque<CopyRequest> copies_;
  bool waiting_ = false;
  bool failed_ = false;
  Ending ending_ = Ending::none;
  std::deque<Submitter> submitters_;  // complete before the thread starts

  // Of the committer thread.
  std::vector<StoreBatch> batches_;  // taken from the inbox, not yet written
  std::vector<Origin> origins_;
  std::vector<StoreBatch> unsynced_;  // those of commits that are written, or being written
  std::size_t unwritten_ = 0;         // of unsynced_, at its end, when a write failed
  std::uint64_t written_ = 0;         // batches, ever
  std::deque<PendingRead> reads_;     // wait for batches that are not yet written
  std::size_t closed_ = 0;            // batches in the longest prefix with complete groups
  std::unordered_map<GroupId, std::uint32_t> missing_parts_;  // of the incomplete groups
  // Since when the oldest batch waits for a group; max when none does.
  Clock::time_point held_since_ = Clock::time_point::max();
  bool groups_held_ = false;
  std::uint64_t unsynced_bytes_ = 0;
  Clock::time_point unsynced_since_{};
  Clock::time_point active_at_{};  // last commit or upkeep

  std::thread thread_;
  bool stopped_ = false;
};

}  // namespace harrier
