// Ready messages that are looked at, and taken, where they are.

#include "base/assert.h"
#include "broker/core/queue.h"

namespace harrier {

LevelLook Queue::look(Sequence from, Sequence end, std::size_t count) {
  const Level* const level = find_level(Level::number_in(from));
  LevelLook look;
  if (level == nullptr || closed_) {
    look.next = end;
    return look;
  }
  look = level->look(Level::sequence_in(from), Level::sequence_in(end), count);
  look.next = level->id_of(look.next);
  look.disk_end = level->id_of(look.disk_end);
  for (LevelLook::Seen& seen : look.seen)
    seen.seq = level->id_of(seen.seq);
  return look;
}

std::optional<LaneId> Queue::lane_of(Sequence id) {
  const Level* const level = find_level(Level::number_in(id));
  return level == nullptr ? std::nullopt : level->lane();
}

bool Queue::has_ready(Sequence id) {
  const Level* const level = find_level(Level::number_in(id));
  return level != nullptr && !closed_ && level->has_ready(Level::sequence_in(id));
}

bool Queue::withdraw(Sequence id, const Message& message) {
  Level* const level = find_level(Level::number_in(id));
  if (level == nullptr || closed_) return false;
  const Sequence seq = Level::sequence_in(id);
  if (level->holds_another(seq, message)) return false;
  return level->withdraw(seq, message.body().size(), message.persistent());
}

std::vector<std::pair<Sequence, Sequence>> Queue::ranges() const {
  std::vector<std::pair<Sequence, Sequence>> ranges;
  const auto add = [&ranges](const Level& level) {
    ranges.emplace_back(level.id_of(0), level.id_of(level.next_sequence()));
  };
  for (std::size_t i = upper_.size(); i > 0; --i) {
    if (upper_[i - 1]) add(*upper_[i - 1]);
  }
  add(base_);
  return ranges;
}

}  // namespace harrier
