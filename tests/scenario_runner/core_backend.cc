#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "broker/admin/admin_commands.h"
#include "broker/admin/backup.h"
#include "broker/auth/internal_store.h"
#include "broker/runtime/broker.h"
#include "broker/session/connection.h"
#include "broker/session/sessions.h"
#include "broker/session/transport.h"
#include "storage/memory_store.h"
#include "tests/scenario_runner/backend.h"

namespace harrier::scenario {
namespace {

class CoreBackend;

// One shard without a thread, on a manual clock and a store without a disk.
struct CoreBroker {
  CoreBroker(const Clock& clock, MemoryStore& store)
      : access(std::move(*InternalStore::from_config(AuthConfig{}))),
        broker(1, clock, store,
               [](const StoreError& error) { throw std::runtime_error(error.detail); }),
        sessions(broker.shard(0), *access, config, [this] { return next_random(); }),
        backups(store, "/nowhere") {
    broker.shard(0).begin_turn();
    if (!broker.recover("/")) throw std::runtime_error("the memory store did not recover");
    broker.shard(0).end_turn();
  }

  NameRandom next_random() {
    NameRandom octets{};
    ++random;
    for (std::size_t i = 0; i < sizeof random; ++i) {
      octets[i] = static_cast<std::uint8_t>(random >> (8 * i));
    }
    return octets;
  }

  SessionConfig config;
  std::unique_ptr<Access> access;
  std::uint64_t random = 0;
  bool woken = false;
  Broker broker;
  Sessions sessions;
  Backups backups;
};

class CoreWire final : public Wire, public Transport {
 public:
  explicit CoreWire(CoreBackend& backend);
  ~CoreWire() override;

  void send(ByteView octets) override;

  void receive(Buffer& into, Milliseconds) override {
    into.append(received_.view());
    received_.clear();
  }

  bool closed() const override { return closed_ && received_.empty(); }

  void close() override;

  void flush() override;

  void resume_reading() override {}  // the backend feeds what is left after every turn

  void close_after_flush() override { ending_ = true; }

  // Hands the connection what it has not taken yet; true if it took some.
  bool feed();
  // Ends the connection where it asked for that.
  void end_if_asked();

  void gone() { connection_.reset(); }

 private:
  CoreBackend& backend_;
  Buffer rest_;
  Buffer received_;
  bool ending_ = false;
  bool closed_ = false;
  std::unique_ptr<Connection> connection_;
};

class CoreBackend final : public Backend {
 public:
  CoreBackend() { start(); }

  ~CoreBackend() override {
    for (CoreWire* wire : wires_)
      wire->gone();
  }

  std::unique_ptr<Wire> open_connection() override {
    auto wire = std::make_unique<CoreWire>(*this);
    wires_.push_back(wire.get());
    return wire;
  }

  bool deterministic() const override { return true; }

  bool counts_lag() const override { return false; }

  void advance(Milliseconds by) override {
    const Timestamp until = clock_.now() + by;
    while (clock_.now() < until) {
      const Timestamp now = clock_.now();
      const Timestamp next = std::min(until, now + Milliseconds(Sessions::kTickMs));
      const Timestamp due = std::max(shard().next_deadline().value_or(next), now);
      clock_.advance(std::min(next, due) - now);
      shard().begin_turn();
      shard().run_timers();
      if (clock_.now() == next) broker_->sessions.tick();
      run();
    }
  }

  bool start_empty() override {
    stop();
    store_ = std::make_unique<MemoryStore>();
    start();
    return true;
  }

  bool can_restart() const override { return true; }

  void restart() override {
    stop();
    store_->reopen();
    start();
  }

  std::string admin(const std::string& line) override {
    std::string reply;
    shard().begin_turn();
    run_admin_command(AdminContext{broker_->backups, broker_->broker}, line,
                      [&reply](AdminAnswer answer) { reply = answer(); });
    run();
    return reply;
  }

  // Turns until nothing is left to do.
  void run() {
    bool more = true;
    while (more) {
      shard().run_mailbox();
      more = false;
      for (std::size_t i = 0; i < wires_.size(); ++i)
        more = wires_[i]->feed() || more;
      shard().end_turn();
      if (std::exchange(broker_->woken, false)) more = true;
    }
    const std::vector<CoreWire*> wires = wires_;
    for (CoreWire* wire : wires)
      wire->end_if_asked();
  }

  void remove(CoreWire& wire) { std::erase(wires_, &wire); }

  Shard& shard() { return broker_->broker.shard(0); }

  Sessions& sessions() { return broker_->sessions; }

 private:
  void start() {
    broker_ = std::make_unique<CoreBroker>(clock_, *store_);
    shard().set_waker([this] { broker_->woken = true; });
  }

  void stop() {
    const std::vector<CoreWire*> wires = wires_;
    for (CoreWire* wire : wires)
      wire->close();
    for (const auto& [id, queue] : shard().queues())
      queue->stop_deliveries();
    shard().end_turn();
    store_->stop();
    broker_.reset();
  }

  ManualClock clock_;
  std::unique_ptr<MemoryStore> store_ = std::make_unique<MemoryStore>();
  std::unique_ptr<CoreBroker> broker_;
  std::vector<CoreWire*> wires_;
};

CoreWire::CoreWire(CoreBackend& backend) : backend_(backend) {
  backend_.shard().begin_turn();
  connection_ =
      std::make_unique<Connection>(backend_.sessions(), *this, Peer{"scenario -> core", true});
}

CoreWire::~CoreWire() {
  close();
  backend_.remove(*this);
}

void CoreWire::send(ByteView octets) {
  if (connection_ == nullptr) return;
  rest_.append(octets);
  backend_.shard().begin_turn();
  backend_.run();
}

bool CoreWire::feed() {
  if (connection_ == nullptr || rest_.empty() || connection_->paused()) return false;
  const std::size_t taken = connection_->receive(rest_.view());
  rest_.consume(taken);
  return taken > 0;
}

void CoreWire::flush() {
  OutputBuffer& output = connection_->output();
  iovec pieces[16];
  while (!output.empty()) {
    std::size_t octets = 0;
    for (std::size_t i = 0, count = output.gather(pieces); i < count; ++i) {
      received_.append({static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len});
      octets += pieces[i].iov_len;
    }
    output.consume(octets);
    connection_->output_sent();
  }
}

void CoreWire::end_if_asked() {
  if (ending_ && connection_ != nullptr) close();
}

void CoreWire::close() {
  if (connection_ == nullptr) return;
  closed_ = true;
  bool released = false;
  backend_.shard().begin_turn();
  connection_->lost([&] { released = true; });
  backend_.shard().end_turn();
  while (!released)
    backend_.shard().run_mailbox();
  backend_.shard().end_turn();
  connection_.reset();
  backend_.run();
}

}  // namespace

std::unique_ptr<Backend> make_core_backend() {
  configure_logging(LogConfig{LogLevel::none, LogLevel::none, {}});  // the runner's words alone
  return std::make_unique<CoreBackend>();
}

}  // namespace harrier::scenario
