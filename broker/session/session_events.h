#pragma once

#include <string_view>

#include "broker/session/channel.h"
#include "broker/session/connection.h"

namespace harrier {

// The events of connections (broker/runtime/events.h). Each costs two look-ups while nobody is
// bound to the event exchange. The virtual host of an opened connection must still exist.

void announce_login(Connection& connection, std::string_view user, std::string_view mechanism,
                    std::string_view refusal);  // empty: the login succeeded
void announce_opened(Connection& connection);
void announce_closed(Connection& connection);

void announce_opened(Channel& channel);
void announce_closed(Channel& channel);

struct ConsumerFacts {
  std::string_view tag;
  std::string_view queue;
  bool no_ack = false;
  bool exclusive = false;
  std::uint32_t prefetch = 0;
};

void announce_added(Channel& channel, const ConsumerFacts& consumer);
void announce_removed(Channel& channel, std::string_view tag, std::string_view queue);

}  // namespace harrier
