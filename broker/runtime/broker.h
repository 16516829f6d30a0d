#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "broker/runtime/control.h"
#include "broker/runtime/runtime_config.h"
#include "broker/runtime/shard.h"
#include "storage/store.h"

namespace harrier {

// The shard that holds a queue that is not bound to its declarer's: the same at every start with
// the same number of shards.
ShardIndex home_shard(std::string_view vhost, std::string_view queue, ShardIndex shards);

// Whether there is an amq.rabbitmq.log.
enum class LogExchange : std::uint8_t {
  none,
  declared
};

// The shards of one broker, its store and its control. Who runs the shards, threads or a test by
// hand, is decided outside.
class Broker {
 public:
  using StoreFailure = std::function<void(const StoreError&)>;

  // `shards` is 1 .. 64. `queue_memory_bytes` as in RuntimeConfig. `on_store_failure` is called
  // from the store's thread.
  Broker(ShardIndex shards, const Clock& clock, Store& store, StoreFailure on_store_failure,
         std::uint64_t queue_memory_bytes = RuntimeConfig().queue_memory_bytes);
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  ShardIndex shard_count() const { return shard_count_; }

  Shard& shard(ShardIndex index) { return *shards_[index]; }

  // Lives on shard 0; its calls may come from any shard.
  Control& control() { return *control_; }

  // Loads definitions and messages into the shards, before any of them runs; creates
  // `default_vhost` in an empty store, and in it the exchanges of the broker's own messages.
  Result<void, StoreError> recover(const std::string& default_vhost,
                                   LogExchange log_exchange = LogExchange::none);

  // Number for a job somebody asked for, unique in a run of the broker. Any thread.
  std::uint64_t next_job() { return last_job_.fetch_add(1, std::memory_order_relaxed) + 1; }

  // As given to recover().
  const std::string& default_vhost() const { return default_vhost_; }

  // The store was refused space and waits for some. Any thread.
  bool store_is_full() const { return store_is_full_.load(std::memory_order_relaxed); }

  void set_store_full(bool is_full) { store_is_full_.store(is_full, std::memory_order_relaxed); }

  // Any thread. Reports the first failure only: every shard hears of it from the store.
  void store_failed(const StoreError& error) {
    if (!store_has_failed_.exchange(true)) on_store_failure_(error);
  }

 private:
  class Recovery;

  std::string default_vhost_;

  const ShardIndex shard_count_;
  Store& store_;
  StoreFailure on_store_failure_;
  std::atomic<bool> store_has_failed_{false};
  std::atomic<bool> store_is_full_{false};
  std::atomic<std::uint64_t> last_job_{0};
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<Control> control_;
};

}  // namespace harrier
