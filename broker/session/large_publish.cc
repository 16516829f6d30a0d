#include "broker/session/large_publish.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "broker/runtime/broker.h"

namespace harrier {
bool goes_ahead(const Message& message, const std::vector<QueueHandle*>& queues) {
  if (message.body().size() <= kBodyPieceBytes || !message.persistent()) return false;
  return std::any_of(queues.begin(), queues.end(),
                     [](const QueueHandle* queue) { return queue->definition().durable; });
}

void BodiesAhead::send(MessageRef message, Task then) {
  waiting_.push_back({std::move(message), BodyNumber{shard_.next_number()}, std::move(then)});
  send_pieces();
}

void BodiesAhead::send_pieces() {
  while (under_way_ < kPiecesMax && !waiting_.empty()) {
    Upload next = std::move(waiting_.front());
    waiting_.pop_front();
    send_piece(std::move(next));
  }
}

void BodiesAhead::send_piece(Upload upload) {
  const std::size_t left = upload.message->body().size() - upload.sent;
  const std::size_t octets = std::min(kBodyPieceBytes, left);
  shard_.batch().stage(upload.body, upload.message, upload.sent, octets);
  upload.sent += octets;
  ++under_way_;
  shard_.when_durable(shard_.turn_ticket(),
                      [this, upload = std::move(upload)]() mutable { piece_is_durable(upload); });
}

void BodiesAhead::piece_is_durable(Upload& upload) {
  --under_way_;
  if (upload.sent < upload.message->body().size()) {
    waiting_.push_back(std::move(upload));
  } else {
    upload.message->set_stored_body(upload.body);
    upload.then();
  }
  send_pieces();
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
