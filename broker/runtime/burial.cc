#include "broker/runtime/burial.h"

#include <utility>

#include "broker/core/queue.h"
#include "broker/core/routing_keys.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/recent_messages.h"
#include "broker/runtime/shard.h"
#include "protocol/properties.h"

namespace harrier {

void Burial::add(Queue& queue, DeadLetter letter) {
  const QueueSettings& settings = queue.settings();
  waiting_.push_back({QueueRef(&queue.handle()),
                      {*settings.dead_letter_exchange, settings.dead_letter_routing_key},
                      std::move(letter)});
}

// While groups are held nothing can be begun that concerns several shards.
bool Burial::is_due() const {
  return !waiting_.empty() && !shard_.groups_are_held();
}

void Burial::run() {
  std::uint64_t durable_on = 0;
  // What is put somewhere may make others die: they come in the next round.
  for (const Waiting& dead : std::exchange(waiting_, {}))
    durable_on |= bury(dead);
  shard_.make_atomic(durable_on);
}

std::uint64_t Burial::bury(const Waiting& dead) {
  const QueueDefinition& from = dead.queue->definition();
  std::uint64_t durable_on = from.durable ? std::uint64_t{1} << shard_.index() : 0;
  VirtualHost* vhost = shard_.find_vhost(from.vhost);
  Exchange* exchange = vhost == nullptr ? nullptr : vhost->find_exchange(dead.target.exchange);
  if (exchange != nullptr) {
    const Death death{from.name, dead.letter.reason, shard_.now()};
    const MessageRef copy = dead.letter.reason == DeathReason::due
                                ? due_copy(*dead.letter.message)
                                : dead_copy(*dead.letter.message, death, dead.target);
    route(*vhost, *exchange, copy);
    durable_on |= spread(copy, dead.letter.reason);
  }
  if (Queue* queue = dead.queue->queue()) queue->buried(dead.letter.seq);
  return durable_on;
}

// By its own keys the message goes on with those of CC; not with a key that a queue gave it.
void Burial::route(VirtualHost& vhost, Exchange& exchange, const MessageRef& message) {
  const auto properties = parse_properties(message->properties());
  const TableView headers = properties->headers.value_or(TableView{});
  keys_.clear();
  keys_.push_back(message->routing_key());
  // A CC that is no array was refused when the message was published.
  if (!has_mark(message->properties(), PropertyMark::spent_copies)) {
    (void)collect_routing_keys(message->routing_key(), headers, keys_);
  }
  const RouteOutcome outcome = vhost.route(exchange, {keys_, headers, &*properties}, queues_);
  keep_recent(shard_, vhost, outcome, message);
}

std::uint64_t Burial::spread(const MessageRef& message, DeathReason reason) {
  std::uint64_t durable_on = 0;
  for (QueueHandle* queue : queues_) {
    const bool may_run_in_circles = reason == DeathReason::rejected || reason == DeathReason::due;
    const Admission admission = reason == DeathReason::due ? Admission::accepted : Admission::asked;
    if (!may_run_in_circles && runs_in_circles(*message, queue->name())) continue;
    if (message->persistent() && queue->definition().durable) {
      durable_on |= std::uint64_t{1} << queue->home();
    }
    if (Queue* here = queue->queue()) {
      here->enqueue(message, shard_.now(), admission);
    } else if (queue->home() != shard_.index()) {
      shard_.send(queue->home(), [&there = shard_.broker().shard(queue->home()), id = queue->id(),
                                  message, admission] {
        if (Queue* home = there.find_queue(id)) {
          home->enqueue(message, there.now(), admission);
        }
      });
    }
  }
  return durable_on;
}

}  // namespace harrier
