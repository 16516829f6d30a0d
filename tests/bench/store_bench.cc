// What the durable store costs per message. Numbers are medians over repeats; CPU is that of the
// whole process, flushes included, so it hardly depends on who else uses the machine.
//
//   store_bench <directory> [scale]        the directory must not exist; scale 1 is about a minute
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "base/log.h"
#include "storage/rocks_store.h"

namespace {

using namespace harrier;
using SteadyClock = std::chrono::steady_clock;

double seconds_since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Octets this process caused to be written.
double written_megabytes() {
  std::ifstream io("/proc/self/io");
  std::string name;
  for (double value = 0; io >> name >> value;) {
    if (name == "write_bytes:") return value / 1e6;
  }
  return 0;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Figures {
  double wall, cpu, written;
};

struct Load {
  const char* name;
  std::size_t body_bytes;
  std::uint32_t lanes = 1;
  std::uint64_t messages = 0;
  std::size_t batch = 256;
  std::uint64_t lag = 0;   // messages between a put and its settle; 0: never settled
  bool synced = false;     // every batch wants a sync
  std::size_t window = 0;  // batches that may be on their way; 0: as many as fit into memory
};

class Broker {
 public:
  explicit Broker(std::string path) : path_(std::move(path)) {}

  void open(std::uint32_t lanes) {
    StoreConfig config;
    config.data_dir = path_;
    auto opened = open_rocks_store(config);
    if (!opened) die(opened.error());
    store_ = *std::move(opened);
    std::vector<LaneId> live;
    for (std::uint32_t lane = 0; lane < lanes; ++lane)
      live.push_back(LaneId{lane});
    if (!store_->recover_lanes(live)) std::abort();
  }

  void attach() {
    durable_.store(0);
    submitter_ = store_->add_submitter({.on_durable =
                                            [this](Ticket ticket) {
                                              durable_.store(ticket);
                                              durable_.notify_all();
                                            },
                                        .on_failure = [](const StoreError& e) { die(e); }});
  }

  void await(Ticket ticket) {
    for (Ticket seen = durable_.load(); seen < ticket; seen = durable_.load())
      durable_.wait(seen);
  }

  Ticket submit(StoreBatch& batch) { return store_->submit(submitter_, batch); }

  std::uint64_t scan() {
    std::uint64_t count = 0;
    if (!store_->scan_entries([&](StoredEntry&&) { ++count; })) std::abort();
    return count;
  }

  void stop() {
    store_->stop();
    store_.reset();
  }

  void kill() { store_.reset(); }

  void remove() { std::filesystem::remove_all(path_); }

 private:
  [[noreturn]] static void die(const StoreError& error) {
    fmt::print(stderr, "{}\n", error.detail);
    std::exit(1);
  }

  std::string path_;
  std::unique_ptr<Store> store_;
  SubmitterId submitter_;
  std::atomic<Ticket> durable_{0};
};

// Enough of them that bodies do not all stay in the cache.
std::vector<MessageRef> make_messages(std::size_t body_bytes) {
  std::vector<MessageRef> messages;
  const std::size_t count = std::max<std::size_t>(64, (8 << 20) / (body_bytes + 64));
  for (std::size_t i = 0; i < count; ++i) {
    messages.push_back(Message::create({.exchange = "",
                                        .routing_key = "bench",
                                        .properties = std::string_view("\x10\x00\x02", 3),
                                        .persistent = true},
                                       std::string(body_bytes, static_cast<char>(i))));
  }
  return messages;
}

// Message number n goes to lane n % lanes with sequence n / lanes + 1.
void run_load(Broker& broker, const Load& load) {
  const std::vector<MessageRef> messages = make_messages(load.body_bytes);
  const Timestamp now{Milliseconds(1'700'000'000'000)};
  StoreBatch batch;
  Ticket last = 0;
  std::uint64_t settled = 0;
  const std::size_t window = load.window != 0 ? load.window : load.synced ? 32 : 2000;
  for (std::uint64_t n = 0; n < load.messages;) {
    for (std::size_t i = 0; i < load.batch && n < load.messages; ++i, ++n) {
      batch.put(LaneId{static_cast<std::uint32_t>(n % load.lanes)}, n / load.lanes + 1,
                messages[n % messages.size()], now, kNoTime);
    }
    for (; load.lag > 0 && settled + load.lag < n; ++settled) {
      batch.settle(LaneId{static_cast<std::uint32_t>(settled % load.lanes)},
                   settled / load.lanes + 1, {1, load.body_bytes});
    }
    if (load.synced) batch.want_sync();
    last = broker.submit(batch);
    if (last > window) broker.await(last - window);
  }
  broker.await(last);
}

Figures measure(const std::string& path, const Load& load) {
  Broker broker(path);
  broker.open(load.lanes);
  broker.attach();
  const double cpu = cpu_seconds();
  const double written = written_megabytes();
  const auto start = SteadyClock::now();
  run_load(broker, load);
  const double wall = seconds_since(start);
  broker.kill();  // waits for flushes that run
  const Figures figures{wall, cpu_seconds() - cpu, written_megabytes() - written};
  broker.remove();
  return figures;
}

void report(const std::string& path, const Load& load) {
  std::vector<double> walls;
  std::vector<double> cpus;
  std::vector<double> writes;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Figures figures = measure(path, load);
    walls.push_back(figures.wall);
    cpus.push_back(figures.cpu);
    writes.push_back(figures.written);
  }
  const auto count = static_cast<double>(load.messages);
  const double payload = count * static_cast<double>(load.body_bytes) / 1e6;
  fmt::print(
      "{:<34} {:>6} B {:>5} lanes  {:>7.3f} us CPU/msg  {:>9.0f} msg/s  {:>5.2f} x written\n",
      load.name, load.body_bytes, load.lanes, median(cpus) / count * 1e6, count / median(walls),
      median(writes) / payload);
  std::fflush(stdout);
}

void report_recovery(const std::string& path, std::uint64_t messages) {
  const Load fill{.name = "", .body_bytes = 1024, .messages = messages};
  Broker broker(path);
  broker.open(1);
  broker.attach();
  run_load(broker, fill);
  broker.kill();
  for (const char* after : {"a crash", "a stop"}) {
    auto start = SteadyClock::now();
    broker.open(1);
    const double opened = seconds_since(start);
    start = SteadyClock::now();
    const std::uint64_t found = broker.scan();
    fmt::print("open after {:<8} {:>9} x 1 KiB: {:.3f} s, then a scan of {} entries {:.3f} s\n",
               after, messages, opened, found, seconds_since(start));
    std::fflush(stdout);
    broker.stop();
  }
  broker.remove();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || std::filesystem::exists(argv[1])) {
    fmt::print(stderr, "usage: store_bench <directory that does not exist> [scale]\n");
    return 2;
  }
  configure_logging({.console_level = LogLevel::warning, .file = ""});
  const std::string path = argv[1];
  const double scale = argc > 2 ? std::atof(argv[2]) : 1;
  const auto scaled = [scale](std::uint64_t n) {
    return static_cast<std::uint64_t>(static_cast<double>(n) * scale);
  };
  const std::vector<Load> loads{
      {.name = "fill, nobody waits", .body_bytes = 16, .messages = scaled(4'000'000)},
      {.name = "fill, nobody waits", .body_bytes = 1024, .messages = scaled(500'000)},
      {.name = "fill, nobody waits", .body_bytes = 16384, .messages = scaled(40'000)},
      {.name = "fill, nobody waits", .body_bytes = 64, .lanes = 16, .messages = scaled(2'000'000)},
      {.name = "fill, nobody waits",
       .body_bytes = 1024,
       .lanes = 1000,
       .messages = scaled(300'000)},
      {.name = "fill, synced", .body_bytes = 16, .messages = scaled(2'000'000), .synced = true},
      {.name = "fill, synced", .body_bytes = 1024, .messages = scaled(500'000), .synced = true},
      {.name = "fill, synced, one batch at a time",
       .body_bytes = 16,
       .messages = scaled(500'000),
       .synced = true,
       .window = 1},
      {.name = "put + settle, synced, lag 100000",
       .body_bytes = 16,
       .messages = scaled(4'000'000),
       .lag = 100'000,
       .synced = true},
      {.name = "put + settle, synced, lag 100000",
       .body_bytes = 1024,
       .messages = scaled(1'000'000),
       .lag = 100'000,
       .synced = true},
      {.name = "put + settle, synced, lag 4000",
       .body_bytes = 16,
       .messages = scaled(4'000'000),
       .lag = 4000,
       .synced = true},
      {.name = "put + settle, synced, lag 4000",
       .body_bytes = 1024,
       .messages = scaled(1'000'000),
       .lag = 4000,
       .synced = true},
      {.name = "put + settle, all vanish",
       .body_bytes = 1024,
       .messages = scaled(2'000'000),
       .lag = 1},
  };
  for (const Load& load : loads)
    report(path, load);
  report_recovery(path, scaled(1'000'000));
  return 0;
}
