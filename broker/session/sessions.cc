#include "broker/session/sessions.h"

#include <algorithm>
#include <utility>

#include "broker/runtime/events.h"
#include "broker/session/connection.h"

namespace harrier {

Sessions::Sessions(Shard& shard, const Access& access, const SessionConfig& config, Random random)
    : shard_(shard),
      access_(access),
      config_(config),
      random_(std::move(random)),
      all_{this},
      bodies_ahead_(shard) {}

void Sessions::add(Connection& connection) {
  connections_.push_back(&connection);
}

void Sessions::remove(Connection& connection) {
  std::erase(connections_, &connection);
}

Channel* Sessions::find(ChannelId id) const {
  const auto found = channels_.find(id);
  return found == channels_.end() ? nullptr : found->second;
}

void Sessions::tick() {
  for (Connection* connection : connections_)
    connection->tick();
}

void Sessions::set_alarms(const Alarms& alarms) {
  const Alarms before = std::exchange(alarms_, alarms);
  if (shard_.index() == 0) {
    if (before.memory != alarms.memory) announce_alarm(shard_, "memory", alarms.memory);
    if (before.disk != alarms.disk) announce_alarm(shard_, "disk", alarms.disk);
  }
  if (alarms.any()) return;
  for (Connection* connection : connections_)
    connection->unblock();
}

void Sessions::close_all(std::string_view reason) {
  for (Connection* connection : connections_)
    connection->force_close(reason);
}

}  // namespace harrier
