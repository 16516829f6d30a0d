#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/message.h"
#include "base/task.h"
#include "broker/core/queue_handle.h"
#include "broker/runtime/shard.h"

namespace harrier {

// The body of a large message goes to the store ahead of the message, piece by piece, so that no
// commit gets large and everybody else's stay quick. The queues get the message when all of it is
// durable; what they put then is small.

inline constexpr std::size_t kBodyPieceBytes = 1 << 20;  // in one commit, of one publish
static_assert(kBodyPieceBytes % kBodyPartUnit == 0);

// Whether a body goes ahead: larger than a piece, and some of the queues will store it.
bool goes_ahead(const Message& message, const std::vector<QueueHandle*>& queues);

// Sends the bodies of one shard's publishers ahead, all in turn. Owned by Sessions.
class BodiesAhead {
 public:
  explicit BodiesAhead(Shard& shard) : shard_(shard) {}

  // Runs `then` in a turn of the shard once the body is durable; `message`, which no queue has yet,
  // knows it then. The caller keeps the publisher's connection paused meanwhile.
  void send(MessageRef message, Task then);

 private:
  // Of all publishers together: what a turn adds to its batch is bounded by it.
  static constexpr std::size_t kPiecesMax = 4;

  struct Upload {
    MessageRef message;
    BodyNumber body;
    Task then;
    std::size_t sent = 0;
  };

  void send_pieces();
  void send_piece(Upload upload);
  void piece_is_durable(Upload& upload);

  Shard& shard_;
  std::deque<Upload> waiting_;  // at most one per connection, or those of its transaction
  std::size_t under_way_ = 0;   // pieces, one per upload
};

// In the turn in which the queues got `message`: no more puts of it will come. `durable_on`: bit
// per shard that stores it.
void end_body_ahead(Shard& here, const Message& message, std::uint64_t durable_on);

}  // namespace harrier
