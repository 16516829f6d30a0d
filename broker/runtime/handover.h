#pragma once

#include <type_traits>
#include <utility>

#include "base/task.h"
#include "broker/core/queue_handle.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/shard.h"

namespace harrier {

// Runs `ask(Shard& home, Queue*)` where the queue lives and `reply(answer)` back on `here`: at once
// when that is this very shard, else with two hand-overs. The queue is null when it was deleted
// meanwhile. `ask` must hold nothing that is confined to `here`; `reply` may (a QueueRef), because
// it is only moved until it is back.
template <class Ask, class Reply>
void ask_home(Shard& here, const QueueHandle& handle, Ask ask, Reply reply) {
  if (handle.home() == here.index()) {
    reply(ask(here, handle.queue()));
    return;
  }
  here.send(handle.home(), [&here, home = handle.home(), id = handle.id(), ask = std::move(ask),
                            reply = std::move(reply)]() mutable {
    Shard& there = here.broker().shard(home);
    there.send(here.index(), [answer = ask(there, there.find_queue(id)),
                              reply = std::move(reply)]() mutable { reply(std::move(answer)); });
  });
}

// As ask_home, for an answer that may take until a later turn: `ask(Queue*, answer)` passes it to
// `answer(Answer)`, once.
template <class Answer, class Ask>
void ask_home_later(Shard& here, const QueueHandle& handle, Ask ask,
                    UniqueFunction<void(Answer)> reply) {
  if (handle.home() == here.index()) {
    ask(handle.queue(), std::move(reply));
    return;
  }
  here.send(handle.home(), [&here, home = handle.home(), id = handle.id(), ask = std::move(ask),
                            reply = std::move(reply)]() mutable {
    Shard& there = here.broker().shard(home);
    UniqueFunction<void(Answer)> back = [&here, &there,
                                         reply = std::move(reply)](Answer answer) mutable {
      there.send(here.index(), [answer = std::move(answer), reply = std::move(reply)]() mutable {
        reply(std::move(answer));
      });
    };
    ask(there.find_queue(id), std::move(back));
  });
}

}  // namespace harrier
