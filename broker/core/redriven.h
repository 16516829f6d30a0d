#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/message.h"
#include "broker/core/dead_letter.h"

namespace harrier {

// What moving a message back does to it, and which messages are meant.

// Which messages; empty members are no condition.
struct RedriveFilter {
  std::string reason;  // of the last death, as in x-last-death-reason
  std::string queue;   // of the first death
  std::vector<std::pair<std::string, std::string>> headers;  // names, and values as text
};

bool matches(const RedriveFilter& filter, const Message& message);

// What a broker wrote about a message's deaths; what a client wrote counts for nothing.
struct Deaths {
  std::string first_queue;
  std::string last_queue;
};

std::optional<Deaths> deaths_of(const Message& message);

enum class History : std::uint8_t {
  keep,
  reset,  // x-death, x-first-death-* and x-last-death-* go
};

// The message as it goes on under `exchange` and `routing_key`; x-redriven-count says how often
// that happened.
MessageRef redriven_copy(const Message& message, std::string_view exchange,
                         std::string_view routing_key, History history);

}  // namespace harrier
