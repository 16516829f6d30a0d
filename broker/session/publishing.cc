#include "broker/session/publishing.h"

#include <utility>

#include "broker/runtime/broker.h"

namespace harrier {
namespace {

// A message on its way to a queue of another shard.
struct RemoteEnqueue {
  Sessions* there;
  ShardIndex from;
  Admission admission;
  QueueId queue;
  MessageRef message;
  ChannelId channel;
  std::uint64_t number;

  void operator()() {
    Shard& shard = there->shard();
    Queue* home = shard.find_queue(queue);
    // One that is gone is as good as none: the confirm is an ack.
    const Enqueued enqueued = home == nullptr
                                  ? Enqueued::held
                                  : home->enqueue(std::move(message), shard.now(), admission);
    if (number == 0) return;
    const Verdict verdict = enqueued == Enqueued::refused ? Verdict::refused : Verdict::taken;
    auto report = [here = &there->of(from), to = channel, share = number, verdict] {
      if (Channel* publisher = here->find(to)) publisher->share_done(share, verdict);
    };
    if (enqueued == Enqueued::stored) {
      shard.when_durable(shard.turn_ticket(),
                         [&shard, to = from, report] { shard.send(to, report); });
    } else {
      shard.send(from, report);
    }
  }
};

}  // namespace

std::vector<QueueRef> keep(const std::vector<QueueHandle*>& queues) {
  std::vector<QueueRef> kept;
  kept.reserve(queues.size());
  for (QueueHandle* queue : queues)
    kept.emplace_back(queue);
  return kept;
}

std::vector<QueueHandle*> left_of(const std::vector<QueueRef>& kept) {
  std::vector<QueueHandle*> left;
  for (const QueueRef& queue : kept) {
    if (!queue->deleted()) left.push_back(queue.get());
  }
  return left;
}

Spread spread(Channel& channel, const MessageRef& message, const std::vector<QueueHandle*>& queues,
              std::uint64_t number, Admission admission) {
  Shard& here = channel.shard();
  Sessions& sessions = channel.connection().sessions();
  Spread result;
  for (QueueHandle* queue : queues) {
    // A transient message may cancel persistent ones.
    if ((message->persistent() || message->has_delay_headers()) && queue->definition().durable) {
      result.durable_on |= std::uint64_t{1} << queue->home();
    }
    if (queue->home() != here.index()) {
      ++result.elsewhere;
      if (here.must_ask(queue->home(), message->footprint())) {
        result.to_ask |= std::uint64_t{1} << queue->home();
      }
      here.send(queue->home(), RemoteEnqueue{&sessions.of(queue->home()), here.index(), admission,
                                             queue->id(), message, channel.id(), number});
    } else if (queue->queue() != nullptr) {
      const Enqueued enqueued = queue->queue()->enqueue(message, here.now(), admission);
      result.stored_here |= enqueued == Enqueued::stored;
      result.written_here |= enqueued == Enqueued::stored || enqueued == Enqueued::paged;
      result.refused_here |= enqueued == Enqueued::refused;
    }
  }
  return result;
}

void hold_back(Channel& channel, const Spread& where) {
  Shard& here = channel.shard();
  const auto go_on = [&channel] { channel.resume({}, BasicPublish::kId); };
  if (where.written_here && here.store_is_behind()) {
    channel.pause();
    here.when_durable(here.turn_ticket(), go_on);
  }
  for (ShardIndex to = 0; where.to_ask >> to != 0; ++to) {
    if ((where.to_ask >> to & 1) == 0) continue;
    channel.pause();
    here.send(to, [&here, &there = here.broker().shard(to), go_on] {
      const auto answer = [&here, &there, go_on] { there.send(here.index(), go_on); };
      if (there.store_is_behind()) {
        there.when_durable(there.turn_ticket(), answer);
      } else {
        answer();
      }
    });
  }
}

void send_return(Channel& channel, ReplyCode code, const MessageRef& message) {
  BasicReturn method;
  method.reply_code = static_cast<std::uint16_t>(code);
  method.reply_text = reply_name(code);
  method.exchange = message->exchange();
  method.routing_key = message->routing_key();
  channel.send_content(method, message);
}

}  // namespace harrier
