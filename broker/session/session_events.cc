#include "broker/session/session_events.h"

#include <fmt/core.h>

#include "broker/runtime/events.h"

namespace harrier {
namespace {

void add(FieldTable& facts, std::string_view name, std::string_view text) {
  facts.append(name, Value::long_string(text));
}

void add_connection(FieldTable& facts, Connection& connection) {
  add(facts, "name", connection.peer().name);
  add(facts, "user", connection.user().name);
  add(facts, "vhost", connection.vhost().name());
}

void add_channel(FieldTable& facts, Channel& channel) {
  Connection& connection = channel.connection();
  add(facts, "name", fmt::format("{} ({})", connection.peer().name, channel.number()));
  facts.append("number", Value::int64(channel.number()));
  add(facts, "connection", connection.peer().name);
  add(facts, "user", connection.user().name);
  add(facts, "vhost", connection.vhost().name());
}

void add_consumer(FieldTable& facts, Channel& channel, std::string_view tag,
                  std::string_view queue) {
  Connection& connection = channel.connection();
  add(facts, "consumer_tag", tag);
  add(facts, "queue", queue);
  add(facts, "vhost", connection.vhost().name());
  add(facts, "connection", connection.peer().name);
  facts.append("channel", Value::int64(channel.number()));
  add(facts, "user", connection.user().name);
}

}  // namespace

void announce_login(Connection& connection, std::string_view user, std::string_view mechanism,
                    std::string_view refusal) {
  const std::string_view key =
      refusal.empty() ? "user.authentication.success" : "user.authentication.failure";
  announce(connection.shard(), key, [&](FieldTable& facts) {
    add(facts, "name", user);
    add(facts, "auth_mechanism", mechanism);
    add(facts, "connection_name", connection.peer().name);
    add(facts, "connection_type", "network");
    add(facts, "protocol", "AMQP 0-9-1");
    facts.append("ssl", Value::boolean(false));
    if (!refusal.empty()) add(facts, "error", refusal);
  });
}

void announce_opened(Connection& connection) {
  announce(connection.shard(), "connection.created", [&](FieldTable& facts) {
    add_connection(facts, connection);
    add(facts, "user_provided_name", connection.client_name());
    add(facts, "protocol", "AMQP 0-9-1");
    facts.append("ssl", Value::boolean(false));
    facts.append("frame_max", Value::int64(connection.frame_max()));
  });
}

void announce_closed(Connection& connection) {
  announce(connection.shard(), "connection.closed",
           [&](FieldTable& facts) { add_connection(facts, connection); });
}

void announce_opened(Channel& channel) {
  announce(channel.shard(), "channel.created",
           [&](FieldTable& facts) { add_channel(facts, channel); });
}

void announce_closed(Channel& channel) {
  announce(channel.shard(), "channel.closed",
           [&](FieldTable& facts) { add_channel(facts, channel); });
}

void announce_added(Channel& channel, const ConsumerFacts& consumer) {
  announce(channel.shard(), "consumer.created", [&](FieldTable& facts) {
    add_consumer(facts, channel, consumer.tag, consumer.queue);
    facts.append("ack_required", Value::boolean(!consumer.no_ack));
    facts.append("exclusive", Value::boolean(consumer.exclusive));
    facts.append("prefetch_count", Value::int64(consumer.prefetch));
  });
}

void announce_removed(Channel& channel, std::string_view tag, std::string_view queue) {
  announce(channel.shard(), "consumer.deleted",
           [&](FieldTable& facts) { add_consumer(facts, channel, tag, queue); });
}

}  // namespace harrier
