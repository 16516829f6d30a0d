#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "broker/admin/admin_server.h"
#include "broker/admin/backup.h"
#include "broker/auth/access.h"
#include "broker/config/config.h"
#include "broker/resource_watcher.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/log_exchange.h"
#include "broker/session/listener.h"
#include "broker/session/sessions.h"
#include "broker/session/shard_server.h"
#include "storage/store.h"

namespace harrier {

// The whole broker, put together: the only place that names every part. Members stand in the order
// in which they start and are destroyed in the reverse.
class App {
 public:
  explicit App(Config config);
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  // Recovers, opens the ports and serves. The error is one line with its mend.
  Result<void, std::string> start();
  // Tells the clients, writes everything down, ends the threads.
  void stop();

  std::vector<std::string> addresses() const { return listener_->addresses(); }

  ShardIndex shard_count() const { return broker_->shard_count(); }

 private:
  void start_shards();
  void watch_resources();
  void take_admin_commands();
  void close_connections();
  // Runs `task` once on every shard, in a turn, and waits.
  void on_every_shard(const std::function<void(ShardServer&)>& task);

  const Config config_;
  SystemClock clock_;
  std::unique_ptr<Access> access_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Broker> broker_;
  std::vector<std::unique_ptr<Sessions>> sessions_;
  std::vector<std::unique_ptr<ShardServer>> servers_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<ResourceWatcher> watcher_;
  std::unique_ptr<Backups> backups_;
  std::unique_ptr<AdminServer> admin_;
  std::unique_ptr<LogPublisher> log_publisher_;  // null unless log.exchange
  bool running_ = false;
};

}  // namespace harrier
