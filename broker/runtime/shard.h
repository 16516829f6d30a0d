#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/task.h"
#include "broker/core/ids.h"
#include "broker/core/message_memory.h"
#include "broker/core/queue.h"
#include "broker/core/queue_host.h"
#include "broker/core/virtual_host.h"
#include "broker/runtime/burial.h"
#include "broker/runtime/mailbox.h"
#include "broker/runtime/queue_timers.h"
#include "broker/runtime/topology_change.h"
#include "storage/store.h"

namespace harrier {

class Broker;
class OwnMessages;
class Redrives;
class Subscriptions;

// Something that wants to act once at the end of the turn in which it asked: a connection that
// writes its output, a channel that confirms.
class TurnEnd {
 public:
  virtual ~TurnEnd() = default;
  virtual void end_of_turn() = 0;

 private:
  friend class Shard;
  bool listed_ = false;
};

// One thread's share of the broker: the queues homed here, a replica of every virtual host, and the
// turn. A turn is a stretch of work (frames of one read, tasks from other shards) followed by
// end_turn(): one store batch, one hand-over to each other shard, one write per dirty socket. No
// locks: everything but post() and the store callbacks belongs to the shard's thread. Knows no
// sockets and no threads, so tests run it by hand.
class Shard final : public QueueHost {
 public:
  // `memory_bytes` is what the messages of its queues may take.
  Shard(Broker& broker, ShardIndex index, const Clock& clock, Store& store,
        std::uint64_t memory_bytes);
  ~Shard() override;
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  ShardIndex index() const { return index_; }

  Broker& broker() { return broker_; }

  // Time of this turn.
  Timestamp now() const override { return now_; }

  // --- the turn
  // `wake` is called from any thread and must lead to a turn that calls run_mailbox().
  void set_waker(std::function<void()> wake) { wake_ = std::move(wake); }

  void begin_turn() { now_ = clock_.now(); }

  // When run_timers() has something to do, if ever.
  std::optional<Timestamp> next_deadline() const;

  // In a turn: what is due by now() expires.
  void run_timers();

  // Runs what other threads sent.
  void run_mailbox();
  // Commits, hands over, runs the TurnEnd list.
  void end_turn();
  // `subject` gets one end_of_turn() in this turn.
  void at_turn_end(TurnEnd& subject);
  // `subject` goes away.
  void forget(TurnEnd& subject);

  // --- other shards
  // From any thread: `task` runs in a turn of this shard.
  void post(Task task);
  // From this shard: `task` runs on shard `to`, after everything sent there before and after the
  // batch of this turn was submitted. Sent to itself it runs in the next turn.
  void send(ShardIndex to, Task task);

  // What this turn sends to the shards of `shard_bits` and, if its own bit is set, what it has in
  // its own batch become durable together or not at all.
  void make_atomic(std::uint64_t shard_bits);

  // --- storage
  // What this turn wants durable.
  StoreBatch& batch() override { return batch_; }

  // The ticket the batch of this turn will have, if anything is in it.
  Ticket turn_ticket() const { return submitted_ + 1; }

  Ticket durable_ticket() const { return durable_; }

  // Runs `task` in a turn of this shard once `ticket` is durable, at once if it is; asks for a
  // sync. Tasks run in the order of their tickets.
  void when_durable(Ticket ticket, Task task);

  // Whether a change over several shards has to wait for when_groups_flow(): so many of them
  // overlap that the store cannot write one whole without tearing another.
  bool groups_are_held() const { return groups_held_; }

  // Runs `task` in a turn of this shard in which new ones may be begun.
  void when_groups_flow(Task task) { held_back_.push_back(std::move(task)); }

  void hold_groups(bool hold);

  // Octets of messages submitted and not yet durable from which on publishers wait.
  static constexpr std::uint64_t kUndurableMaxBytes = std::uint64_t{64} << 20;

  // More is submitted than the disk keeps up with: publishers are to wait (await_durable).
  bool store_is_behind() const { return undurable_bytes_ > kUndurableMaxBytes; }

  // `octets` were sent to shard `to`. True once in a while: then the sender asks that shard before
  // it sends more, so that no mailbox fills without end.
  bool must_ask(ShardIndex to, std::size_t octets) {
    if ((sent_octets_[to] += octets) < kUnaskedMaxBytes) return false;
    sent_octets_[to] = 0;
    return true;
  }

  // --- for the queues, see QueueHost
  void wake_at(Queue& queue, Timestamp at) override { timers_.add(queue.handle().id(), at); }

  void delete_unused(Queue& queue) override;

  void dead_letter(Queue& queue, DeadLetter letter) override {
    burial_.add(queue, std::move(letter));
  }

  MessageMemory& memory() override { return memory_; }

  std::optional<LaneId> take_lane() override;
  void read(Queue& queue, const PageRequest& request) override;

  // As read(), for somebody else.
  using PageReader = UniqueFunction<void(LanePage&&)>;
  void read_page(const PageRequest& request, PageReader done);

  void later(Task task) override { post(std::move(task)); }

  // --- the model
  VirtualHost* find_vhost(std::string_view name) const;
  // Queue homed here, null when it is gone.
  Queue* find_queue(QueueId id) const;
  // Applies a change that control decided; what went with it is the same on every shard.
  Removed apply(const TopologyChange& change);

  const std::unordered_map<QueueId, std::unique_ptr<Queue>>& queues() const { return queues_; }

  Subscriptions& subscriptions() { return *subscriptions_; }

  Redrives& redrives() { return *redrives_; }

  // Messages that come from no client.
  OwnMessages& own_messages() { return *own_messages_; }

  // Number for things of this shard that other threads name: never reused, unique across shards.
  std::uint64_t next_number() { return (std::uint64_t{index_} << 48) | ++last_number_; }

 private:
  static constexpr std::size_t kUnaskedMaxBytes = std::size_t{16} << 20;
  static constexpr std::uint32_t kLanesFetched = 16;

  struct Undurable {
    Ticket ticket;
    std::uint64_t bytes;
  };

  struct Read {
    PageRequest request;
    PageReader done;  // in a turn of this shard
  };

  struct DurableWaiter {
    Ticket ticket;
    Task task;
  };

  Removed apply_to(VirtualHost& vhost, const TopologyChange& change);
  // Gives each queue homed here what holds for it now. O(queues * policies).
  void apply_policies(const VirtualHost& vhost);
  void add_queue(VirtualHost& vhost, const QueueDefinition& definition);
  Removed remove_queue(VirtualHost& vhost, const std::string& name);

  bool has_batch() const { return !batch_.empty() || batch_.sync_wanted(); }

  void submit_batch();
  void submit_reads();
  void release_durable();
  void flush_outboxes();

  Broker& broker_;
  const ShardIndex index_;
  const Clock& clock_;
  Store& store_;
  SubmitterId submitter_;
  std::function<void()> wake_;
  Timestamp now_{};

  Mailbox mailbox_;
  std::vector<Task> incoming_;               // being run
  std::vector<std::vector<Task>> outboxes_;  // by shard, of this turn
  std::vector<TurnEnd*> turn_ends_;
  std::vector<TurnEnd*> ending_;  // being ended; null where one went away meanwhile

  StoreBatch batch_;
  Ticket submitted_ = 0;
  Ticket durable_ = 0;
  // Written by the store's thread, read by ours after the wake-up that follows it.
  std::atomic<Ticket> durable_reported_{0};
  std::deque<DurableWaiter> durable_waiters_;
  bool groups_held_ = false;
  std::vector<Task> held_back_;      // until groups flow again
  std::deque<Undurable> undurable_;  // submitted, by ticket
  std::uint64_t undurable_bytes_ = 0;
  std::vector<std::size_t> sent_octets_;  // by shard, since it was last asked

  MessageMemory memory_;
  QueueTimers timers_;
  Burial burial_{*this};
  std::vector<Read> reads_;          // of this turn
  std::vector<LaneId> spare_lanes_;  // for queues that are not durable
  bool fetching_lanes_ = false;

  std::unordered_map<std::string, std::unique_ptr<VirtualHost>> vhosts_;
  std::unordered_map<QueueId, std::unique_ptr<Queue>> queues_;
  std::unique_ptr<Subscriptions> subscriptions_;
  std::unique_ptr<OwnMessages> own_messages_;
  std::unique_ptr<Redrives> redrives_;
  std::uint64_t last_number_ = 0;
};

}  // namespace harrier
