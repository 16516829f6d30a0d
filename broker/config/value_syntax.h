#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "broker/session/session_config.h"

namespace harrier {

// How single values are written in harrier.conf and rabbitmq.conf. Nothing when the text is no such
// value; ranges are the caller's.

// Octets or a plain count: digits with an optional unit in any case. k, ki, kib and so on up to p
// are powers of 1024; kb, mb, gb, tb, pb are powers of 1000.
std::optional<std::uint64_t> parse_number(std::string_view text);

// true, on, yes / false, off, no
std::optional<bool> parse_flag(std::string_view text);

// The levels of RabbitMQ; notice counts as info, alert and emergency as critical.
std::optional<LogLevel> parse_log_level(std::string_view text);
std::string_view to_string(LogLevel level);

// 5672, 127.0.0.1:5672, ::1:5672 or [::1]:5672. A port alone means every interface, as in RabbitMQ.
std::optional<ListenerAddress> parse_listener(std::string_view text);
std::string to_string(const ListenerAddress& listener);

}  // namespace harrier
