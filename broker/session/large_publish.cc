#include "broker/session/large_publish.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>

#include "broker/runtime/broker.h"

namespace harrier {
namespace {

struct Upload {
  Shard& here;
  MessageRef message;
  BodyNumber body;
  Task then;
  std::size_t sent = 0;
};

// One piece at a time: the next one lines up behind what others have submitted meanwhile.
void send_piece(const std::shared_ptr<Upload>& upload) {
  const std::size_t all = upload->message->body().size();
  const std::size_t octets = std::min(kBodyPieceBytes, all - upload->sent);
  upload->here.batch().stage(upload->body, upload->message, upload->sent, octets);
  upload->sent += octets;
  upload->here.when_durable(upload->here.turn_ticket(), [upload, all] {
    if (upload->sent < all) return send_piece(upload);
    upload->message->set_stored_body(upload->body);
    upload->then();
  });
}

}  // namespace

bool goes_ahead(const Message& message, const std::vector<QueueHandle*>& queues) {
  if (message.body().size() <= kBodyPieceBytes || !message.persistent()) return false;
  return std::any_of(queues.begin(), queues.end(),
                     [](const QueueHandle* queue) { return queue->definition().durable; });
}

void send_body_ahead(Shard& here, MessageRef message, Task then) {
  send_piece(std::make_shared<Upload>(
      Upload{here, std::move(message), BodyNumber{here.next_number()}, std::move(then)}));
}

// Beside one of the puts: where there are several they are one commit (Shard::make_atomic), and
// what another shard is sent in one turn it does in one turn.
void end_body_ahead(Shard& here, const Message& message, std::uint64_t durable_on) {
  const BodyNumber body = message.stored_body();
  if (body == BodyNumber{}) return;
  const auto lowest = static_cast<ShardIndex>(std::countr_zero(durable_on));
  if (durable_on == 0 || lowest == here.index()) return here.batch().unstage(body);
  here.send(lowest, [&there = here.broker().shard(lowest), body] { there.batch().unstage(body); });
}

}  // namespace harrier
