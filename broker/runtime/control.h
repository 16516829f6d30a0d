#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "broker/core/definitions.h"
#include "broker/core/virtual_host.h"
#include "broker/runtime/limits.h"
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
  // "" is classic. It changes no queue that exists.
  void set_default_queue_type(Shard& from, std::string vhost, std::string type, Done done);

  // Policies hold for what exists and what comes. PRECONDITION_FAILED with the text of
  // validate_policy(); NOT_FOUND without the virtual host, and for the clearing of what is not
  // there.
  void set_policy(Shard& from, std::string vhost, PolicyKind kind, PolicyDefinition policy,
                  Done done);
  void clear_policy(Shard& from, std::string vhost, PolicyKind kind, std::string name, Done done);

  // Limits count what is there already but end nothing. Errors as for policies; a user need not
  // exist.
  void set_limit(Shard& from, LimitDefinition limit, Done done);
  void clear_limit(Shard& from, LimitDefinition limit, Done done);
  // connection.open, see Limits::admit(). Count it before the user's permission is looked at.
  using Admitted = UniqueFunction<void(Result<ConnectionPermit, ProtocolError>)>;
  void admit_connection(Shard& from, std::string vhost, std::string user, Admitted done);

  // Any component but those that have calls of their own. `value` is a JSON document.
  void set_parameter(Shard& from, ParameterDefinition parameter, Done done);
  void clear_parameter(Shard& from, ParameterDefinition parameter, Done done);

  // Shard 0 only.
  const Limits& limits() const { return limits_; }

  // Ordered by virtual host, component and name; global ones first.
  void each_parameter(const std::function<void(const ParameterDefinition&)>& visit) const;

  // Lanes for queues that are not durable: not in use, gone after a restart. `done` runs in a turn
  // of `from`, maybe within this call.
  void reserve_lanes(Shard& from, std::uint32_t count,
                     UniqueFunction<void(std::vector<LaneId>)> done);

  // Start-up: ids go on above everything the store knows. `next_lane` is never given out twice, so
  // its record runs ahead of use.
  void continue_from(LaneId next_lane) { next_lane_ = reserved_lane_ = next_lane.value; }

  void restore(const LimitDefinition& limit) { limits_.set(limit); }

  void restore(ParameterDefinition parameter);

 private:
  struct Change;

  Shard& shard0();
  void run_on_control(Shard& from, Task task);
  // `done` with the result on shard `from`, after every change decided so far has come to its end.
  void answer(Shard& from, Done done, Result<void, ProtocolError> result);
  // Applies everywhere; `done` when complete.
  void commit(Shard& from, TopologyChange change, Done done);
  // Keeps a record, or ends it where there is no value; `done` when that is synced.
  void commit_record(Shard& from, const std::string& key, std::optional<std::string> value,
                     Done done);
  // A new change that ends with `shares` calls of share_done() with the number returned.
  std::uint64_t begin_change(std::size_t shares);
  void create_queue(Shard& from, QueueDefinition wanted, bool near_declarer, Done done);
  // The durable queue that x-dead-letter-queue asks for, where there is none of that name;
  // PRECONDITION_FAILED when it would be one too many.
  Result<void, ProtocolError> create_dead_letter_queue(const std::string& vhost,
                                                       const std::string& name);
  void record(const TopologyChange& change);
  void record_removed(const std::string& vhost, const Removed& removed, bool durable);
  void share_done(std::uint64_t number);
  LaneId take_lane();
  // An exchange is gone: if it delayed, its queue goes too.
  void leave_delay_queue(const ExchangeDefinition& gone);

  Broker& broker_;
  // Changes on their way, oldest first; numbered from first_change_ on.
  std::deque<std::unique_ptr<Change>> changes_;
  std::uint64_t first_change_ = 1;
  std::vector<std::string> left_queues_;  // delay queues whose exchange is gone
  std::uint32_t next_lane_ = 1;
  std::uint32_t reserved_lane_ = 1;
  std::uint64_t last_transient_ = 0;
  Limits limits_;
  using ParameterKey = std::tuple<std::string, std::string, std::string>;  // vhost, component, name
  std::map<ParameterKey, std::string> parameters_;
};

}  // namespace harrier
