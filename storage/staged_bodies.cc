#include "storage/staged_bodies.h"

#include <algorithm>

namespace harrier {

std::optional<BodyKey> StagedBodies::add(const StoreBatch::BodyPart& part, Epoch epoch,
                                         BodyWriter& ids) {
  if (part.offset == 0) {
    bodies_[part.body] = {.id = ids.take_id(), .octets = 0, .runs = {}};
  }
  const auto found = bodies_.find(part.body);
  if (found == bodies_.end()) return std::nullopt;
  Body& body = found->second;
  if (part.offset != body.octets) {
    bodies_.erase(found);
    return std::nullopt;
  }
  const std::size_t chunks = (part.octets + kBodyChunkBytes - 1) / kBodyChunkBytes;
  if (body.runs.empty() || body.runs.back().epoch != epoch) body.runs.push_back({epoch, 0});
  body.runs.back().chunks += static_cast<std::uint32_t>(chunks);
  body.octets += part.octets;
  return BodyKey{epoch, body.id, static_cast<std::uint16_t>(part.offset / kBodyChunkBytes)};
}

std::optional<BodyPlace> StagedBodies::place_of(const Message& message) const {
  if (message.stored_body() == BodyNumber{}) return std::nullopt;
  const auto found = bodies_.find(message.stored_body());
  if (found == bodies_.end() || found->second.octets != message.body().size()) return std::nullopt;
  return BodyPlace{.id = found->second.id, .runs = found->second.runs};
}

std::size_t StagedBodies::missing_in(const StoreBatch& batch) const {
  if (!batch.has_staged_puts()) return 0;
  std::size_t octets = 0;
  for (const StoreBatch::Operation& operation : batch.operations()) {
    if (operation.kind != StoreBatch::Operation::Kind::put) continue;
    const Message& message = *operation.message;
    if (message.stored_body() != BodyNumber{} && !place_of(message))
      octets += message.body().size();
  }
  return octets;
}

void StagedBodies::release(BodyNumber body) {
  if (body != BodyNumber{}) released_.push_back(body);
}

void StagedBodies::end_commit() {
  for (const BodyNumber body : released_)
    bodies_.erase(body);
  released_.clear();
}

void StagedBodies::add_epochs(std::vector<Epoch>& needed) const {
  if (bodies_.empty()) return;
  for (const auto& [number, body] : bodies_) {
    for (const BodyRun& run : body.runs)
      needed.push_back(run.epoch);
  }
  std::sort(needed.begin(), needed.end());
}

}  // namespace harrier
