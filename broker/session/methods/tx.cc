// Class tx. All publishes and settlements of a commit are one change of the store: after a crash
// either all of it happened or nothing.

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/join.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/handover.h"
#include "broker/session/large_publish.h"
#include "broker/session/methods/methods.h"
#include "broker/session/publishing.h"
#include "broker/session/transaction.h"

namespace harrier {
namespace {

Outcome require_transaction(Channel& channel) {
  if (channel.transaction()) return {};
  return fail(ProtocolError{ReplyCode::precondition_failed, "channel is not transactional"});
}

struct Published {
  std::uint64_t durable_on = 0;  // bit per shard that writes a part of it
  std::uint32_t elsewhere = 0;   // shares of other shards
  bool stored_here = false;      // it counts on what this shard writes, or has written
};

// Publishes in order, returning what found no queue.
Published publish_held(Channel& channel, const Transaction& held) {
  Published published;
  for (const Transaction::Publish& publish : held.publishes) {
    if (publish.queues.empty() && publish.mandatory) {
      send_return(channel, ReplyCode::no_route, publish.message);
    }
    const Spread where = spread(channel, publish.message, left_of(publish.queues),
                                Channel::kCommitShare, Admission::reserved);
    end_body_ahead(channel.shard(), *publish.message, where.durable_on);
    published.durable_on |= where.durable_on;
    published.elsewhere += where.elsewhere;
    published.stored_here |= where.stored_here;
  }
  return published;
}

// Those that end go first: a message with the same key may be among what is published. Those that
// return come after it, as with RabbitMQ.
enum class Part : std::uint8_t {
  ends,
  returns,
};

std::uint64_t settle_held(Channel& channel, const Transaction& held, Part part) {
  std::uint64_t durable_on = 0;
  for (const Transaction::Settle& settle : held.settles) {
    if (returns(settle.how) != (part == Part::returns)) continue;
    UnackedDelivery* delivery = channel.unacked().find(settle.tag);
    if (delivery == nullptr) continue;
    // A return may be one too many, and end the message.
    if (delivery->queue->definition().durable) {
      durable_on |= std::uint64_t{1} << delivery->queue->home();
    }
    delivery->in_tx = false;
    channel.settle(settle.tag, settle.tag, settle.how);
  }
  channel.subscriptions().flush();
  return durable_on;
}

// Counts what shard `home` has of the commit among the shares, done once that is durable.
void await_durable(Channel& channel, ShardIndex home) {
  ++channel.transaction()->shares_left;
  Shard& here = channel.shard();
  here.send(home, [&here, &channel, home] {
    Shard& there = here.broker().shard(home);
    // The channel is paused, hence there, until it has heard of this.
    there.when_durable(there.turn_ticket(), [&here, &there, &channel] {
      there.send(here.index(), [&channel] { channel.share_done(Channel::kCommitShare); });
    });
  });
}

// Runs `then` once the large bodies are in the store: the commit is small.
void send_bodies_ahead(Channel& channel, Task then) {
  Join sent(std::move(then));
  for (const Transaction::Publish& publish : channel.transaction()->publishes) {
    if (!goes_ahead(*publish.message, left_of(publish.queues))) continue;
    channel.connection().sessions().bodies_ahead().send(publish.message, sent.share());
  }
}

// Runs `then` once the queues have in memory what they put elsewhere when the commit rejects it.
void load_returned(Channel& channel, Task then) {
  std::map<QueueHandle*, std::vector<Sequence>> wanted;
  for (const Transaction::Settle& settle : channel.transaction()->settles) {
    const UnackedDelivery* delivery = channel.unacked().find(settle.tag);
    if (settle.how == Settlement::ack || delivery == nullptr) continue;
    if (delivery->queue->definition().durable)
      wanted[delivery->queue.get()].push_back(delivery->seq);
  }
  Join loaded(std::move(then));
  for (auto& [queue, ids] : wanted) {
    ask_home_later<bool>(
        channel.shard(), *queue,
        [ids = std::move(ids)](Queue* home, UniqueFunction<void(bool)> answer) {
          if (home == nullptr) return answer(true);
          home->load(ids, [answer = std::move(answer)]() mutable { answer(true); });
        },
        [share = loaded.share()](bool) mutable { share(); });
  }
}

// The channel is paused. Resumes it with commit-ok once everything is durable.
void commit(Channel& channel) {
  Transaction& transaction = *channel.transaction();
  const Transaction held{
      std::move(transaction.publishes), 0, std::move(transaction.settles), 0, {}};
  transaction.publishes.clear();
  transaction.publish_bytes = 0;
  transaction.settles.clear();
  transaction.when_stored = [&channel] {
    channel.send(TxCommitOk{});
    channel.resume({}, TxCommit::kId);
  };
  transaction.shares_left = 1;  // this shard's
  const std::uint64_t settled_on = settle_held(channel, held, Part::ends);
  const Published published = publish_held(channel, held);
  settle_held(channel, held, Part::returns);
  transaction.shares_left += published.elsewhere;
  for (ShardIndex home = 0; home < channel.shard().broker().shard_count(); ++home) {
    if (home != channel.shard().index() && (settled_on >> home & 1) != 0) {
      await_durable(channel, home);
    }
  }
  channel.shard().make_atomic(published.durable_on | settled_on);
  // A duplicate writes nothing, and the message that it counts on may not be safe yet.
  if (channel.shard().batch().empty() && !published.stored_here) {
    channel.share_done(Channel::kCommitShare);
  } else {
    channel.shard().when_durable(channel.shard().turn_ticket(),
                                 [&channel] { channel.share_done(Channel::kCommitShare); });
  }
}

void commit_when_groups_flow(Channel& channel) {
  if (channel.shard().groups_are_held()) {
    channel.shard().when_groups_flow([&channel] { commit(channel); });
  } else {
    commit(channel);
  }
}

// What the commit brings to one queue.
struct Room {
  QueueRef queue;
  std::vector<MessageRef> messages;
  std::uint64_t bytes = 0;      // of their bodies
  std::vector<Sequence> ended;  // deliveries of it that the commit ends
  bool kept = false;
};

std::vector<Room> room_needed(Channel& channel) {
  const Transaction& transaction = *channel.transaction();
  std::vector<Room> rooms;
  for (const Transaction::Publish& publish : transaction.publishes) {
    for (const QueueRef& queue : publish.queues) {
      const auto known = std::find_if(rooms.begin(), rooms.end(), [&](const Room& room) {
        return room.queue.get() == queue.get();
      });
      Room& room = known == rooms.end() ? rooms.emplace_back() : *known;
      room.queue = queue;
      room.messages.push_back(publish.message);
      room.bytes += publish.message->body().size();
    }
  }
  for (const Transaction::Settle& settle : transaction.settles) {
    const UnackedDelivery* delivery = channel.unacked().find(settle.tag);
    if (delivery == nullptr || returns(settle.how)) continue;
    for (Room& room : rooms) {
      if (room.queue.get() == delivery->queue.get()) room.ended.push_back(delivery->seq);
    }
  }
  return rooms;
}

void give_up_room(Channel& channel, const Room& room) {
  ask_home(
      channel.shard(), *room.queue,
      [messages = room.messages, bytes = room.bytes](Shard&, Queue* home) {
        if (home == nullptr) return true;
        home->release(messages.size(), bytes);
        home->release_keys(messages);
        return true;
      },
      [](bool) {});
}

// Every queue is asked first, so that a commit of which one would refuse a part does nothing.
void keep_room(Channel& channel) {
  const auto rooms = std::make_shared<std::vector<Room>>(room_needed(channel));
  Join asked([&channel, rooms] {
    const auto is_kept = [](const Room& room) { return room.kept; };
    if (std::all_of(rooms->begin(), rooms->end(), is_kept)) {
      return load_returned(channel, [&channel] {
        send_bodies_ahead(channel, [&channel] { commit_when_groups_flow(channel); });
      });
    }
    for (const Room& room : *rooms) {
      if (room.kept) give_up_room(channel, room);
    }
    channel.resume(fail(ProtocolError{ReplyCode::precondition_failed, "partial tx completion"}),
                   TxCommit::kId);
  });
  for (Room& room : *rooms) {
    ask_home(
        channel.shard(), *room.queue,
        [messages = room.messages, bytes = room.bytes, ended = room.ended](Shard&, Queue* home) {
          if (home == nullptr) return true;
          if (!home->reserve(messages.size(), bytes)) return false;
          if (home->reserve_keys(messages, Duplicates::dropped, ended)) return true;
          home->release(messages.size(), bytes);
          return false;
        },
        [rooms, &room, share = asked.share()](bool kept) mutable {
          room.kept = kept;
          share();
        });
  }
}

}  // namespace

Outcome on(Channel& channel, const TxSelect&) {
  if (channel.confirms()) {
    return fail(
        ProtocolError{ReplyCode::precondition_failed, "cannot switch from confirm to tx mode"});
  }
  if (!channel.transaction()) channel.transaction() = std::make_unique<Transaction>();
  channel.send(TxSelectOk{});
  return {};
}

Outcome on(Channel& channel, const TxCommit&) {
  if (auto open = require_transaction(channel); !open) return open;
  channel.pause();
  keep_room(channel);
  return {};
}

Outcome on(Channel& channel, const TxRollback&) {
  if (auto open = require_transaction(channel); !open) return open;
  // RabbitMQ: the deliveries are unacknowledged again, not redelivered.
  for (const Transaction::Settle& settle : channel.transaction()->settles) {
    if (UnackedDelivery* delivery = channel.unacked().find(settle.tag)) delivery->in_tx = false;
  }
  channel.transaction()->publishes.clear();
  channel.transaction()->publish_bytes = 0;
  channel.transaction()->settles.clear();
  channel.send(TxRollbackOk{});
  return {};
}

}  // namespace harrier
