#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "broker/core/definitions.h"
#include "broker/core/virtual_host.h"
#include "broker/runtime/topology_change.h"
#include "protocol/reply_code.h"

namespace harrier {

class Broker;
class Shard;

// Decides every change of definitions, one after the other, on shard 0. A change is checked against
// that shard's replica, recorded in its batch, applied there and sent to all others. The reply runs
// in a turn of the asking shard once every shard has applied the change and, if it concerns
// something durable, once it is synced: whoever sees a declare-ok can use the queue from any
// connection and finds it after a crash.
class Control {
 public:
  using Done = UniqueFunction<void(Result<void, ProtocolError>)>;

  explicit Control(Broker& broker);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  void declare_exchange(Shard& from, std::string vhost, ExchangeDefinition wanted, Done done);
  void delete_exchange(Shard& from, std::string vhost, std::string name, bool if_unused, Done done);
  // `wanted.owner` is the declaring connection when exclusive; `connection` is it in any case.
  // With `near_declarer` a new queue lives on the shard `from`.
  void declare_queue(Shard& from, std::string vhost, QueueDefinition wanted,
                     ConnectionId connection, bool near_declarer, Done done);
  // Deletes that very queue if it is still there; succeeds in any case.
  void delete_queue(Shard& from, std::string vhost, std::string name, QueueId id, Done done);
  void bind(Shard& from, std::string vhost, BindingDefinition wanted, ConnectionId connection,
            Done done);
  void unbind(Shard& from, std::string vhost, BindingDefinition wanted, ConnectionId connection,
              Done done);
  void add_vhost(Shard& from, std::string vhost, Done done);
  // Whether messages of the virtual host are copied to its amq.rabbitmq.trace. NOT_FOUND.
  void set_tracing(Shard& from, std::string vhost, bool on, Done done);

  // Lanes for queues that are not durable: not in use, gone after a restart. `done` runs in a turn
  // of `from`, maybe within this call.
  void reserve_lanes(Shard& from, std::uint32_t count,
                     UniqueFunction<void(std::vector<LaneId>)> done);

  // Start-up: ids go on above everything the store knows. `next_lane` is never given out twice, so
  // its record runs ahead of use.
  void continue_from(LaneId next_lane) { next_lane_ = reserved_lane_ = next_lane.value; }

 private:
  struct Change;

  Shard& shard0();
  void run_on_control(Shard& from, Task task);
  // `done` with the result on shard `from`, after every change decided so far has come to its end.
  void answer(Shard& from, Done done, Result<void, ProtocolError> result);
  // Applies everywhere; `done` when complete.
  void commit(Shard& from, TopologyChange change, Done done);
  void record(const TopologyChange& change);
  void record_removed(const std::string& vhost, const Removed& removed, bool durable);
  void share_done(std::uint64_t number);
  LaneId take_lane();

  Broker& broker_;
  // Changes on their way, oldest first; numbered from first_change_ on.
  std::deque<std::unique_ptr<Change>> changes_;
  std::uint64_t first_change_ = 1;
  std::uint32_t next_lane_ = 1;
  std::uint32_t reserved_lane_ = 1;
  std::uint64_t last_transient_ = 0;
};

}  // namespace harrier
