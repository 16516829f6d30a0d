#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "base/log_tap.h"

namespace harrier {

class Broker;

// While it lives, the lines of the log go to amq.rabbitmq.log as well, each with its level as the
// routing key: debug, info, warning, error or critical. Published by shard 0 in a later turn; while
// that has kPendingMax lines before it, further ones are left out rather than kept. What publishing
// them logs is left out too.
class LogPublisher final : public LogTap {
 public:
  static constexpr int kPendingMax = 1000;

  // `least` is the least severe level published. One per process; broker.recover() has made the
  // exchange.
  LogPublisher(Broker& broker, LogLevel least);
  // Threads that log must have ended, or stop() come before they do.
  ~LogPublisher() override;
  LogPublisher(const LogPublisher&) = delete;
  LogPublisher& operator=(const LogPublisher&) = delete;

  // Takes no more lines. Any thread.
  void stop();

  void on_line(LogLevel level, std::string_view line) override;

 private:
  void publish(LogLevel level, const std::string& line);

  Broker& broker_;
  const LogLevel least_;
  // Taken, not published yet. Counts only: whoever adds or takes reads no other memory by it.
  std::atomic<int> pending_{0};
};

}  // namespace harrier
