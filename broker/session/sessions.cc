#include "broker/session/sessions.h"

#include <algorithm>
#include <utility>

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
  alarms_ = alarms;
  if (alarms.any()) return;
  for (Connection* connection : connections_)
    connection->unblock();
}

void Sessions::close_all(std::string_view reason) {
  for (Connection* connection : connections_)
    connection->force_close(reason);
}

}  // namespace harrier
