#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace harrier {

// Names of exchanges, queues and consumers: how they are shown, which are reserved, how the server
// makes its own.

// The exchange of the firehose, in every virtual host.
inline constexpr std::string_view kTraceExchange = "amq.rabbitmq.trace";
// What happens in the broker, and its log: in the default virtual host.
inline constexpr std::string_view kEventExchange = "amq.rabbitmq.event";
inline constexpr std::string_view kLogExchange = "amq.rabbitmq.log";

// What every reply-text calls a resource: queue 'q' in vhost '/'. The default exchange has an
// empty name there.
std::string queue_text(std::string_view queue, std::string_view vhost);
std::string exchange_text(std::string_view exchange, std::string_view vhost);

// RabbitMQ drops CR and LF from the names in declare, delete, bind and unbind, and from those only.
bool has_cr_lf(std::string_view name);
std::string strip_cr_lf(std::string_view name);

// queue.declare and exchange.declare, rule "reserved": names that start with "amq." are the
// server's.
bool is_reserved(std::string_view name);

// Direct reply-to: the pseudo-queue itself, and the names made from it for one consumer each.
inline constexpr std::string_view kReplyToName = "amq.rabbitmq.reply-to";
bool is_reply_to_queue(std::string_view name);  // "amq.rabbitmq.reply-to.<token>"
// Either of them: what queue.declare and basic.consume treat specially.
bool is_reply_to(std::string_view name);

using NameRandom = std::array<std::uint8_t, 16>;

// queue.declare/queue, rule "default-name": "amq.gen-" and 22 characters from 16 random octets.
std::string server_named_queue(const NameRandom& random);
// basic.consume/consumer-tag, rule "empty-tag": likewise with "amq.ctag-".
std::string server_named_consumer_tag(const NameRandom& random);

}  // namespace harrier
