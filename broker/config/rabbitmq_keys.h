#pragma once

#include <span>
#include <string_view>

namespace harrier {

// Whether RabbitMQ has `key` but Harrier does not act on it (yet). Such keys are accepted, so that
// an existing rabbitmq.conf can be used as it is, and named in one warning.
bool is_rabbitmq_only_key(std::string_view key);

// The names among them that have no free part: candidates for "did you mean".
std::span<const std::string_view> rabbitmq_only_key_names();

}  // namespace harrier
