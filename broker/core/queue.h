#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "broker/core/consumer.h"
#include "broker/core/queue_handle.h"
#include "broker/core/queue_host.h"
#include "broker/core/queue_parts/consumer_set.h"
#include "broker/core/queue_parts/delayed.h"
#include "broker/core/queue_parts/level.h"
#include "broker/core/queue_settings.h"
#include "protocol/delay_headers.h"
#include "protocol/reply_code.h"
#include "storage/store.h"

namespace harrier {

// What became of a message given to a queue.
enum class Enqueued : std::uint8_t {
  held,     // in memory only: a transient message or queue
  paged,    // written as well, for want of memory; a restart loses it all the same
  stored,   // safe once the batch of this turn is durable
  refused,  // the queue is full and takes no more
};

// Whether there is room for a message for sure.
enum class Admission : std::uint8_t {
  asked,     // the queue may refuse it
  reserved,  // Queue::reserve() kept room for it
  returned,  // likewise, and it died in this queue before, whatever its headers say
  accepted,  // it was confirmed when it was delayed: it is not refused any more
};

// Whether Queue::reserve() did.
inline bool has_room_kept(Admission admission) {
  return admission == Admission::reserved || admission == Admission::returned;
}

// What may become of a message with a key that the queue knows.
enum class Duplicates : std::uint8_t {
  dropped,  // whatever the queue does with them
  kept,     // it is somewhere else, and stays there unless the queue takes it
};

// A message taken by basic.get.
struct Got {
  Delivery delivery;
  std::size_t ready_left = 0;
};

// What basic.get finds: nothing in an empty queue; INTERNAL_ERROR where the store is damaged.
using GetResult = Result<std::optional<Got>, ProtocolError>;

// A queue hands ready messages to consumers in order and remembers what is unacknowledged.
// Lives on its home shard; every call belongs to a turn of that shard. What must survive a restart
// is recorded in the turn's batch. AMQP 0-9-1 section 3.1.4.
// The messages are in levels (queue_parts/level.h), one for each priority, the highest of which
// goes first; most queues have one. Pages are read back while somebody consumes.
class Queue {
 public:
  // `host` and `handle` outlive the queue.
  Queue(QueueHandle& handle, QueueHost& host);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  QueueHandle& handle() const { return handle_; }

  const QueueDefinition& definition() const { return handle_.definition(); }

  const QueueSettings& settings() const { return settings_; }

  // The settings become these: a policy came, went or changed. What is in the queue already keeps
  // its deadline.
  void apply(QueueSettings settings, Timestamp now);

  // Start-up only: all that the store has is backlog.
  void recover(const RecoveredLane& lane);
  // Start-up only, before recover(): messages of the lane may have deadlines.
  void recover_deadlines(LaneId lane);
  // Start-up only, before recover(): how often a message in the store was delivered in vain.
  void recover_count(LaneId lane, Sequence seq, std::uint32_t count);

  // Start-up only, before recover(): when a message in the store is due.
  void recover_delayed(const DelayRecord& record);

  // Start-up only, before recover(): a message with this key was accepted.
  void recover_key(const KeyRecord& record);

  // The lane of its lowest level, if that has one.
  std::optional<LaneId> lane() const { return base_.lane(); }

  // The queue is gone: what the store has of it has to go too.
  void drop_lanes();

  // It is the time the host was asked to call at, or past it: what is due expires.
  void tick(Timestamp now);

  // Somebody declared the queue, which keeps it from being unused.
  void touch() { last_used_ = host_.now(); }

  // Appends and hands out what it can.
  Enqueued enqueue(MessageRef message, Timestamp now, Admission admission = Admission::asked);
  // Keeps room for `count` messages with `bytes` octets of bodies in all, for a transaction that
  // publishes to several queues or to none; false if they would be refused. Each of them is then
  // enqueued as reserved, or all are released.
  [[nodiscard]] bool reserve(std::size_t count, std::uint64_t bytes);
  void release(std::size_t count, std::uint64_t bytes);
  // Likewise for the keys of those messages, where a second one with a key would be refused, or
  // has to stay where it is. Before they come, deliveries of `ended` are over.
  [[nodiscard]] bool reserve_keys(std::span<const MessageRef> messages,
                                  Duplicates duplicates = Duplicates::dropped,
                                  std::span<const Sequence> ended = {});
  void release_keys(std::span<const MessageRef> messages,
                    Duplicates duplicates = Duplicates::dropped);

  // basic.consume. Deliveries start with the next pump(), so that consume-ok can go first.
  // ACCESS_REFUSED when an exclusive consumer is or would be in the way, NOT_FOUND after close().
  // The reference stays good until cancel() or close().
  Result<QueueConsumer*, ProtocolError> consume(Consumer& port, ConsumerOptions options);
  // Ends the consumer; its unacknowledged deliveries stay with their channel. True when this left
  // an auto-delete queue without consumers: the caller deletes it.
  [[nodiscard]] bool cancel(QueueConsumer& consumer);
  // `consumer` can take more again.
  void resume(QueueConsumer& consumer);

  // basic.get: never limited by prefetch. Answers within the call, or in a later turn when the
  // message has to be read first.
  using GetReply = UniqueFunction<void(GetResult)>;
  void get(bool no_ack, GetReply reply);

  // Ends a delivery by its sequence. Ignored for one that is not unacknowledged here, which a
  // delete or purge may have caused. Call pump() after the last one of a turn's group.
  void settle(Sequence id, Settlement how);

  // Reads what left memory of these unacknowledged deliveries, as far as there may be another use
  // for it than to end: to dead-letter it, or to put it where it waits for its next delivery.
  // `done` runs within the call or in a later turn, once their end can be part of a transaction.
  void load(const std::vector<Sequence>& ids, Task done);

  // A message that was given to QueueHost::dead_letter is where it belongs: its place here ends.
  void buried(Sequence id);

  // Gives ready messages to consumers until one of both runs out.
  void pump();

  // --- ready messages where they are, for who moves them (queue_look.cc)
  // What is ready from `from` on, below `end`: sequences of one level, as of ranges().
  LevelLook look(Sequence from, Sequence end, std::size_t count);
  // The level's lane, which the rest has to be read from.
  std::optional<LaneId> lane_of(Sequence id);
  bool has_ready(Sequence id);
  // Ends a ready message: this turn puts `message`, or a copy, somewhere else. False if it is not
  // ready any more, or another has taken its place. Call pump() after the last one of a group.
  bool withdraw(Sequence id, const Message& message);
  // Where the messages that are here now begin and end, the highest priority first.
  std::vector<std::pair<Sequence, Sequence>> ranges() const;

  // The answer to QueueHost::read.
  void paged_in(LaneId lane, LanePage&& page);

  // Drops every ready and every delayed message and returns how many; unacknowledged ones stay.
  std::size_t purge();

  // The queue is being deleted: consumers are told, nothing is accepted or handed out any more. Its
  // lane goes later, when its definition has: until then a crash brings the queue back. Returns the
  // number of ready messages that went with it.
  std::size_t close();

  bool closed() const { return closed_; }

  bool is_stopping() const { return stopping_; }

  std::size_t ready_count() const {
    std::size_t count = base_.ready_count();
    for (const auto& level : upper_)
      count += level ? level->ready_count() : 0;
    return count;
  }

  // Messages that wait until they are due (queue_parts/delayed.h).
  std::size_t delayed_count() const {
    return delayed_ ? delayed_->count() + delayed_->awaited_returns() : 0;
  }

  // All that are delayed come at once. Returns how many.
  std::size_t release_delayed();
  // Drops what was published with that x-cancel-key and is delayed. Returns how many.
  std::size_t cancel_delayed(std::string_view key);

  std::size_t unacked_count() const {
    std::size_t count = base_.unacked_count();
    for (const auto& level : upper_)
      count += level ? level->unacked_count() : 0;
    return count;
  }

  // Octets of the bodies of ready messages.
  std::uint64_t ready_bytes() const {
    std::uint64_t bytes = base_.ready_bytes();
    for (const auto& level : upper_)
      bytes += level ? level->ready_bytes() : 0;
    return bytes;
  }

  // Octets of memory its messages take.
  std::uint64_t held_bytes() const { return share_.held_bytes; }

  std::size_t consumer_count() const { return consumers_.count(); }

  // Keys that stand in the way of messages, and how many messages that concerned since the start.
  std::size_t key_count() const { return keys_ ? keys_->size() : 0; }

  std::uint64_t duplicate_count() const { return keys_ ? keys_->duplicates() : 0; }

  // basic.publish/immediate: whether a consumer would get the next message now.
  bool takes_at_once() { return !closed_ && ready_count() == 0 && has_free_consumer(); }

  // A consumer could take a message right now.
  bool has_free_consumer() { return consumers_.next() != nullptr; }

  // Lets the store know which entries a consumer may have seen.
  void record_delivered();
  // Clean stop: the same, and nobody gets a message any more. Publishes are still taken.
  void stop_deliveries();

  void check_invariants() const;

 private:
  // Longer waits are asked for again.
  static constexpr Milliseconds kWakeMax = std::chrono::hours(24);

  struct Getter {
    bool no_ack;
    GetReply reply;
  };

  // The level whose head goes next; the lowest when all are empty.
  Level& next_level() {
    for (std::size_t i = upper_.size(); i > 0; --i) {
      if (upper_[i - 1] && !upper_[i - 1]->empty()) return *upper_[i - 1];
    }
    return base_;
  }

  Level& level_of(const Message& message) {
    return upper_.empty() ? base_ : level_at(message.priority());
  }

  // The level of that priority, made when it is first used; the highest for what is above it.
  Level& level_at(std::uint8_t priority);

  // In a queue without priorities: what is due for its next try goes before all else.
  Level& retry_level();

  // Null if it was never used.
  Level* find_level(std::uint8_t number) {
    if (number == 0) return &base_;
    return number <= upper_.size() ? upper_[number - 1U].get() : nullptr;
  }

  Level* find_level(LaneId lane);
  Level& recovered_level(LaneId lane);

  template <class Visit>
  void each_level(Visit visit) {
    visit(base_);
    for (const auto& level : upper_) {
      if (level) visit(*level);
    }
  }

  // Reads the next page if somebody wants it and little is left in memory. Where memory is short
  // only for somebody who takes a message now.
  void read_ahead() {
    if (closed_ || (upper_.empty() && !base_.has_unread())) return;
    Level& next = next_level();
    const bool wanted = is_wanted() && (next.may_read_ahead() || !getters_.empty() || forwards_ ||
                                        has_free_consumer());
    each_level([&](Level& level) { level.read_ahead(&level == &next && wanted); });
  }

  void found_damage(const Level& level, const std::string& detail);
  void report_missing(Level& level);
  void serve_getters();
  void fail_getters(const ProtocolError& error);
  ProtocolError damage() const;
  void deliver_ready();
  void deliver(Level& level, QueueConsumer& to);

  Timestamp deadline_of(const Message& message, Timestamp now) const;
  // Something may be due at that time.
  void expect(Timestamp deadline);
  void expire(Timestamp now);
  // An unacknowledged message comes back, if it was not delivered too often.
  void take_back(Level& level, Sequence seq, QueueEntry& entry, Settlement how);
  // Whether a delivery counts that ended so.
  bool counts(Settlement how) const;
  bool waits_before_retry(Settlement how) const;
  bool is_loading();
  void end_loading();
  // It is delivered again later.
  void retry_later(Level& level, Sequence seq, QueueEntry& entry);

  DelayedMessages& delayed();
  // What the headers of a message ask for; nothing if it goes the way of all others.
  std::optional<Enqueued> enqueue_by_headers(const MessageRef& message, Timestamp now,
                                             Admission admission);
  Enqueued enqueue_delayed(const MessageRef& message, const DelayHeaders& said, Timestamp now,
                           Admission admission);
  void delay(DelayedMessages::Arrival arrival);
  // What is due goes to the end of its level, or to that of retries.
  void release_due(Timestamp now);
  void release(const DelayedMessages::Released& released, Timestamp now);
  void delayed_paged_in(LanePage&& page);
  // Whether it was read to be delayed: then it is, and not dead.
  bool take_return(Level& level, const DeadLetter& letter);
  void report_unreadable_delayed();
  Delivery hand_out(Level& level, QueueConsumer* to, bool no_ack);
  // The message at a place that was taken or unacknowledged is not delivered any more.
  void die(Level& level, Sequence seq, DeathReason reason);

  bool is_limited() const { return settings_.max_length || settings_.max_length_bytes; }

  // What counts towards the limits: ready and delayed messages.
  std::size_t kept_count() const { return ready_count() + delayed_count(); }

  std::uint64_t kept_bytes() const { return ready_bytes() + (delayed_ ? delayed_->bytes() : 0); }

  // --- messages that may come only once (queue_unique.cc)
  void apply_deduplication(Timestamp now);
  // What becomes of a message with a key that is known, unless it goes on as any other.
  std::optional<Enqueued> meet_duplicate(const MessageRef& message, Timestamp now,
                                         Admission admission);
  // The message in the way of another with that key.
  const Deduplication::Holder* find_earlier(const DeduplicationKey& key, Timestamp now);
  // It will not be delivered any more, though that has not been seen to.
  bool is_lost(const Deduplication::Holder& holder, Timestamp now);
  bool may_reserve(const DeduplicationKey& key, std::span<const Sequence> ended);
  // The key that has to be kept for a message that will come.
  std::optional<DeduplicationKey> key_to_reserve(const Message& message, Duplicates duplicates);
  std::optional<Enqueued> replace(const Deduplication::Holder& earlier, const MessageRef& message,
                                  Timestamp now, Admission admission);
  bool has_room_instead_of(std::uint64_t earlier_bytes, std::uint64_t bytes) const;
  // The key of a message that will be `id`.
  void remember_key(Sequence id, const Message& message, Timestamp expires_at, Timestamp now);
  Deduplication::Holder holder_of(Sequence id, const Message& message, Timestamp expires_at) const;
  // A message of the queue, called `from`, goes on under another name.
  void carry_key(Sequence from, Sequence to, const Message& message, Timestamp expires_at);
  // What the store has of a level, whose keys may speak of more.
  void check_keys(const RecoveredLane& lane);

  bool has_room_for(std::size_t count, std::uint64_t bytes) const;
  bool refuses(const MessageRef& message);

  // The next deaths have to wait for tick().
  void pause_dying(Timestamp now);

  // With drop-head: the oldest ready messages go while there are too many.
  void drop_heads() {
    if (is_limited() && settings_.overflow == Overflow::drop_head) drop_surplus();
  }

  void drop_surplus();
  // When the queue goes for want of use.
  Timestamp unused_at() const;
  void wake_by(Timestamp at);

  bool is_durable() const { return definition().durable; }

  bool is_wanted() const { return consumers_.count() > 0 || !getters_.empty() || forwards_; }

  QueueHandle& handle_;
  QueueHost& host_;
  LevelShare share_;
  Level base_;  // of priority 0
  // Of 1 to x-max-priority, made when first used; in a queue without priorities that of retries.
  std::vector<std::unique_ptr<Level>> upper_;
  std::deque<Getter> getters_;  // wait for the head; the channel asks once at a time
  std::vector<Task> loads_;     // wait for what load() reads
  QueueSettings settings_;
  std::unique_ptr<DelayedMessages> delayed_;  // made when first used
  ConsumerSet consumers_;
  std::unique_ptr<Deduplication> keys_;  // null unless a message may come only once
  Timestamp next_deadline_ = kNever;     // nothing in memory is due before
  Timestamp woken_at_ = kNever;          // the host was asked for this time
  Timestamp last_used_;
  std::size_t reserved_count_ = 0;  // messages of transactions that will come
  std::uint64_t reserved_bytes_ = 0;
  const bool forwards_;  // a delay queue: what is ready is given to its exchange
  bool closed_ = false;
  bool stopping_ = false;
  bool is_behind_ = false;  // more has expired than was seen to: nothing is handed out meanwhile
};

}  // namespace harrier
