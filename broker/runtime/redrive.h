#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/task.h"
#include "broker/core/ids.h"
#include "broker/core/redriven.h"

namespace harrier {

class Queue;
class Shard;

// Where the messages of a queue are moved to.
struct RedriveTarget {
  enum class Kind : std::uint8_t {
    origin,  // the queue in which a message died first, if that is gone the last one
    queue,
    exchange,
  };
  Kind kind = Kind::origin;
  std::string name;                        // of the queue or exchange
  std::optional<std::string> routing_key;  // for an exchange; none: that of the message
};

struct RedriveRequest {
  std::string vhost;
  std::string queue;
  RedriveTarget target;
  RedriveFilter filter;
  std::optional<double> rate;          // messages in a second; none: as fast as it goes
  std::optional<std::uint64_t> limit;  // messages in all
  History history = History::keep;
  bool dry_run = false;  // counts only
};

// How far a job is. What was matched was moved, or stayed: for want of a destination, because that
// refused it, or because somebody else took it first.
struct RedriveStatus {
  enum class State : std::uint8_t {
    running,
    done,
    cancelled,
    failed,
  };
  std::uint64_t job = 0;
  std::string vhost;
  std::string queue;
  State state = State::running;
  bool dry_run = false;
  std::uint64_t examined = 0;
  std::uint64_t matched = 0;
  std::uint64_t moved = 0;
  std::uint64_t unroutable = 0;
  std::uint64_t refused = 0;
  std::string error;  // why it failed
};

std::string_view redrive_state_name(RedriveStatus::State state);

// Moves the messages that are in a queue now to where they came from, or elsewhere: a page at a
// time, the next one when the last is durable. The end of the old place and the new ones are one
// change of the store, also over several shards. What does not match stays where it is, and what
// consumers have or take meanwhile is not touched. Jobs live on the home shard of their queue, at
// most one for each, and end with the broker. Confined to its shard.
class Redrives {
 public:
  explicit Redrives(Shard& shard) : shard_(shard) {}

  ~Redrives();

  using Done = UniqueFunction<void(const RedriveStatus&)>;

  // `when_done` may be empty. The error is one line.
  Result<RedriveStatus, std::string> start(Queue& queue, RedriveRequest request, Done when_done);
  // False when there is no such job, or it is over.
  bool cancel(std::uint64_t job);
  // Those that run, and the last ones that are over.
  std::vector<RedriveStatus> status() const;

  // For jobs with a rate, as of Shard.
  std::optional<Timestamp> next_deadline() const;
  void run_timers();

 private:
  struct Job;
  struct Move;
  struct Batch;
  using JobRef = std::shared_ptr<Job>;
  using BatchRef = std::shared_ptr<Batch>;
  struct Candidate;

  void go_on(const JobRef& job);
  void step(const JobRef& job);
  std::size_t allowance(Job& job);
  void read_from_store(const JobRef& job, Queue& queue, Sequence until, std::size_t count);
  void examine(const JobRef& job, const std::vector<Candidate>& candidates);
  std::optional<Move> plan(Job& job, const Candidate& candidate);
  void ask_for_room(const BatchRef& batch);
  void refused(const BatchRef& batch);
  void give_up_room(const Move& move);
  void place(const BatchRef& batch);
  std::uint64_t put(const Move& move);
  void next_batch(const JobRef& job);
  void end(const JobRef& job, RedriveStatus::State state, std::string error = {});

  Shard& shard_;
  std::deque<JobRef> jobs_;  // the oldest first
};

// From a turn of `from`; the answers come in one, too.

// With `wait` the answer comes when the job is over.
enum class RedriveAnswer : std::uint8_t {
  when_started,
  when_done
};
using RedriveReply = UniqueFunction<void(Result<RedriveStatus, std::string>)>;
void start_redrive(Shard& from, RedriveRequest request, RedriveAnswer answer, RedriveReply reply);
// False when there is no such job, or it is over.
void cancel_redrive(Shard& from, std::uint64_t job, UniqueFunction<void(bool)> reply);
// Of all shards, by number.
void list_redrives(Shard& from, UniqueFunction<void(std::vector<RedriveStatus>)> reply);

}  // namespace harrier
