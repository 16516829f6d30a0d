#include "broker/app.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <latch>
#include <thread>
#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "broker/admin/admin_commands.h"
#include "broker/auth/internal_store.h"
#include "broker/runtime/system_resources.h"
#include "storage/database.h"
#include "storage/disk_space.h"
#include "storage/rocks_store.h"

namespace harrier {
namespace {

constexpr Logger kLog("broker");

// How long clients have to say goodbye at shutdown.
constexpr auto kGoodbye = std::chrono::seconds(3);
constexpr auto kGoodbyePoll = std::chrono::milliseconds(10);

// A processor is left to the store's threads: one commits, others flush and compact.
ShardIndex choose_shards(const RuntimeConfig& config) {
  if (config.shards > 0) return static_cast<ShardIndex>(config.shards);
  return static_cast<ShardIndex>(std::clamp(std::thread::hardware_concurrency(), 2U, 65U) - 1);
}

NameRandom random_octets() {
  NameRandom octets;
  HARRIER_CHECK(::getentropy(octets.data(), octets.size()) == 0);
  return octets;
}

// A write that failed may be half on disk, and trying again cannot make it whole: end, and let
// recovery find the last good state. Nothing unsynced was confirmed.
[[noreturn]] void end_process(const StoreError& error) {
  kLog.critical("the store failed: {}; stopping, restart once that is mended", error.detail);
  std::_Exit(EXIT_FAILURE);
}

}  // namespace

App::App(Config config) : config_(std::move(config)) {}

App::~App() {
  stop();
}

Result<void, std::string> App::start() {
  auto access = InternalStore::from_config(config_.auth);
  if (!access) return fail(access.error());
  access_ = std::move(*access);

  auto store = open_rocks_store(config_.store);
  if (!store) return fail(store.error().detail);
  store_ = std::move(*store);

  broker_ = std::make_unique<Broker>(choose_shards(config_.runtime), clock_, *store_, end_process,
                                     config_.runtime.queue_memory_bytes);
  if (auto recovered =
          broker_->recover(config_.auth.default_vhost,
                           config_.log.exchange ? LogExchange::declared : LogExchange::none);
      !recovered) {
    return fail(recovered.error().detail);
  }
  start_shards();
  std::vector<ShardServer*> servers;
  for (auto& server : servers_)
    servers.push_back(server.get());
  listener_ = std::make_unique<Listener>(std::move(servers), config_.session);
  if (auto opened = listener_->open(); !opened) {
    store_->stop();  // nothing was delivered: the stop before this start counts as clean
    return opened;
  }
  watch_resources();
  listener_->start();
  for (auto& server : servers_)
    server->start();
  take_admin_commands();
  if (config_.log.exchange) {
    log_publisher_ = std::make_unique<LogPublisher>(*broker_, config_.log.exchange_level);
  }
  running_ = true;
  return {};
}

void App::start_shards() {
  for (ShardIndex index = 0; index < broker_->shard_count(); ++index) {
    sessions_.push_back(std::make_unique<Sessions>(broker_->shard(index), *access_, config_.session,
                                                   random_octets));
    servers_.push_back(std::make_unique<ShardServer>(broker_->shard(index), *sessions_.back()));
  }
  std::vector<Sessions*> all;
  for (auto& sessions : sessions_)
    all.push_back(sessions.get());
  for (auto& sessions : sessions_)
    sessions->introduce(all);
}

void App::watch_resources() {
  constexpr std::uint64_t kMB = 1'000'000;
  constexpr std::uint64_t kTightPart = 4;
  const std::uint64_t available = memory_available_to_us();
  const std::string& data_dir = config_.store.data_dir;
  const auto space = disk_space(data_dir);
  if (!space) {
    kLog.warning("{}; free disk space is not watched until it can be told", space.error().detail);
  }
  const ResourceLimits limits =
      resolve(config_.runtime.resources,
              {.memory_bytes = available,
               .disk_bytes = space ? space->total_bytes : 0,
               .unwritten_bytes = config_.store.write_buffer_bytes * (kSealedMemtablesMax + 2) +
                                  Shard::kUndurableMaxBytes * broker_->shard_count()});
  const std::uint64_t queues = config_.runtime.queue_memory_bytes / broker_->shard_count();
  kLog.info("publishers are blocked above {} MB of memory (of {} MB) and below {} MB of free disk",
            limits.memory_bytes / kMB, available / kMB, limits.disk_free_bytes / kMB);
  const auto on_change = [this, queues](const Alarms& alarms, bool memory_is_tight) {
    const std::uint64_t budget = memory_is_tight ? queues / kTightPart : queues;
    for (auto& server : servers_) {
      server->post([&shard = *server, alarms, budget] {
        shard.sessions().set_alarms(alarms);
        shard.shard().memory().set_budget(budget);
      });
    }
  };
  watcher_ = std::make_unique<ResourceWatcher>(
      limits, data_dir, [this] { return broker_->store_is_full(); }, on_change);
}

void App::take_admin_commands() {
  backups_ = std::make_unique<Backups>(*store_, config_.store.data_dir);
  admin_ = std::make_unique<AdminServer>(
      [context = AdminContext{*backups_, *broker_}](std::string_view line, AdminReplyTo reply) {
        run_admin_command(context, line, std::move(reply));
      });
  if (auto opened = admin_->open(config_.store.data_dir); !opened) {
    kLog.warning("{}; `harrier` does not reach this broker", opened.error());
  }
}

void App::on_every_shard(const std::function<void(ShardServer&)>& task) {
  std::latch done(static_cast<std::ptrdiff_t>(servers_.size()));
  for (auto& server : servers_) {
    server->post([&] {
      task(*server);
      done.count_down();
    });
  }
  done.wait();
}

void App::close_connections() {
  on_every_shard([](ShardServer& server) {
    server.sessions().close_all("broker forced connection closure with reason 'shutdown'");
  });
  const auto deadline = std::chrono::steady_clock::now() + kGoodbye;
  for (;;) {
    std::atomic<std::size_t> open{0};
    on_every_shard([&](ShardServer& server) { open += server.sessions().connection_count(); });
    if (open == 0 || std::chrono::steady_clock::now() >= deadline) return;
    std::this_thread::sleep_for(kGoodbyePoll);
  }
}

void App::stop() {
  if (!std::exchange(running_, false)) return;
  if (log_publisher_) log_publisher_->stop();
  listener_->stop();
  admin_->stop();  // stays: what was asked for may still be answered, to nobody
  watcher_.reset();
  close_connections();
  on_every_shard([](ShardServer& server) {
    for (const auto& [id, queue] : server.shard().queues())
      queue->stop_deliveries();
  });
  // What the turn above recorded is submitted when it ends; a further one has come after it.
  on_every_shard([](ShardServer&) {});
  for (auto& server : servers_)
    server->stop();
  store_->stop();
  backups_->stop();
  kLog.info("stopped");
}

}  // namespace harrier
