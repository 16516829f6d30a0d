#include "broker/runtime/log_exchange.h"

#include <utility>

#include "broker/core/resource_names.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/internal_publish.h"

namespace harrier {
namespace {

// This thread publishes a line: what it logs meanwhile would never end.
thread_local bool publishing = false;

std::string_view routing_key(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warning:
      return "warning";
    case LogLevel::error:
      return "error";
    case LogLevel::critical:
    case LogLevel::none:
      break;
  }
  return "critical";
}

}  // namespace

LogPublisher::LogPublisher(Broker& broker, LogLevel least) : broker_(broker), least_(least) {
  set_log_tap(this);
}

LogPublisher::~LogPublisher() {
  stop();
}

void LogPublisher::stop() {
  set_log_tap(nullptr);
}

void LogPublisher::on_line(LogLevel level, std::string_view line) {
  if (level < least_ || publishing) return;
  if (pending_.fetch_add(1, std::memory_order_relaxed) >= kPendingMax) {
    pending_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  broker_.shard(0).post([this, level, kept = std::string(line)] { publish(level, kept); });
}

void LogPublisher::publish(LogLevel level, const std::string& line) {
  pending_.fetch_sub(1, std::memory_order_relaxed);
  Shard& shard0 = broker_.shard(0);
  VirtualHost* const vhost = shard0.find_vhost(broker_.default_vhost());
  Exchange* const exchange = vhost == nullptr ? nullptr : vhost->find_exchange(kLogExchange);
  if (exchange == nullptr || exchange->binding_count() == 0) return;
  BasicProperties properties;
  properties.content_type = "text/plain";
  properties.timestamp = static_cast<std::uint64_t>(shard0.now().time_since_epoch().count()) / 1000;
  properties.headers.emplace().append("node", Value::long_string(node_name()));
  publishing = true;
  publish_from(shard0, *vhost, *exchange,
               own_message(kLogExchange, routing_key(level), properties, line));
  publishing = false;
}

}  // namespace harrier
