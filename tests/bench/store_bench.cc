// What the durable store costs per message. Numbers are medians over three runs; CPU is that of the
// whole process, flushes included, so it hardly depends on who else uses the machine. "x written"
// is octets written to the disk per octet of message bodies.
//
//   store_bench <directory> [scale [part of a name]]
//                       the directory must not exist; scale 1 is about two minutes
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
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

// CPU time of all threads.
double cpu_seconds() {
  timespec spent{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) * 1e-9;
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
  std::uint64_t messages = 0;  // published
  bool fan_out = false;        // each message goes to all lanes, else to one after the other
  std::size_t batch = 256;
  std::uint64_t lag = 0;   // messages between a put and its settle; 0: never settled
  bool synced = false;     // every batch wants a sync
  std::size_t window = 0;  // batches that may be on their way; 0: as many as fit into memory
  bool drain = false;      // then read all lanes back by pages and settle what came

  std::uint32_t copies() const { return fan_out ? lanes : 1; }

  std::uint64_t messages_in_lane() const { return fan_out ? messages : messages / lanes; }
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

  void read(const PageRequest& request, Store::PageReader done) {
    store_->read(request, std::move(done));
  }

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

// Message number n goes to lane n % lanes with sequence n / lanes + 1, or to all with n + 1.
void put(StoreBatch& batch, const Load& load, std::uint64_t n, const MessageRef& message) {
  constexpr Timestamp kNow{Milliseconds(1'700'000'000'000)};
  if (!load.fan_out) {
    const LaneId lane{static_cast<std::uint32_t>(n % load.lanes)};
    batch.put(lane, n / load.lanes + 1, message, kNow, kNoTime);
    return;
  }
  for (std::uint32_t lane = 0; lane < load.lanes; ++lane)
    batch.put(LaneId{lane}, n + 1, message, kNow, kNoTime);
}

void settle(StoreBatch& batch, const Load& load, std::uint64_t n) {
  const Tally was{1, load.body_bytes};
  if (!load.fan_out) {
    batch.settle(LaneId{static_cast<std::uint32_t>(n % load.lanes)}, n / load.lanes + 1, was);
    return;
  }
  for (std::uint32_t lane = 0; lane < load.lanes; ++lane)
    batch.settle(LaneId{lane}, n + 1, was);
}

void fill(Broker& broker, const Load& load) {
  const std::vector<MessageRef> messages = make_messages(load.body_bytes);
  StoreBatch batch;
  Ticket last = 0;
  std::uint64_t settled = 0;
  const std::size_t window = load.window != 0 ? load.window : load.synced ? 32 : 2000;
  for (std::uint64_t n = 0; n < load.messages;) {
    for (std::size_t i = 0; i < load.batch && n < load.messages; i += load.copies(), ++n)
      put(batch, load, n, messages[n % messages.size()]);
    for (; load.lag > 0 && settled + load.lag < n; ++settled)
      settle(batch, load, settled);
    if (load.synced) batch.want_sync();
    last = broker.submit(batch);
    if (last > window) broker.await(last - window);
  }
  broker.await(last);
}

// Takes pages off the reader's thread, as the mailbox of a shard does.
class Pages {
 public:
  void put(LanePage&& page) {
    const std::lock_guard lock(mutex_);
    pages_.push_back(std::move(page));
    arrived_.notify_one();
  }

  LanePage take() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [this] { return !pages_.empty(); });
    LanePage page = std::move(pages_.front());
    pages_.pop_front();
    return page;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<LanePage> pages_;
};

// One page of each lane is on its way at a time.
void drain(Broker& broker, const Load& load) {
  Pages pages;
  const Sequence end = load.messages_in_lane() + 1;
  const auto ask = [&](LaneId lane, Sequence from) {
    broker.read({.lane = lane, .from = from, .end = end},
                [&pages](LanePage&& page) { pages.put(std::move(page)); });
  };
  for (std::uint32_t lane = 0; lane < load.lanes; ++lane)
    ask(LaneId{lane}, 1);
  StoreBatch batch;
  Ticket last = 0;
  for (std::uint64_t left = load.messages_in_lane() * load.lanes; left > 0;) {
    const LanePage page = pages.take();
    if (page.damage || page.entries.empty()) std::abort();
    const std::uint64_t count = page.entries.size();
    const LaneId lane = page.entries.front().lane;
    if (page.next != end) ask(lane, page.next);
    batch.settle_range(lane, page.entries.front().seq, page.next, {count, count * load.body_bytes});
    left -= count;
    if (left == 0) batch.want_sync();
    last = broker.submit(batch);
  }
  broker.await(last);
}

// Of one phase, from here to read().
class Meter {
 public:
  Figures read() const {
    return {seconds_since(start_), cpu_seconds() - cpu_, written_megabytes() - written_};
  }

 private:
  double cpu_ = cpu_seconds();
  double written_ = written_megabytes();
  SteadyClock::time_point start_ = SteadyClock::now();
};

// Of the fill, and of the drain if there is one.
std::vector<Figures> measure(const std::string& path, const Load& load) {
  std::vector<Figures> figures;
  Broker broker(path);
  broker.open(load.lanes);
  broker.attach();
  const Meter filling;
  fill(broker, load);
  if (!load.drain) broker.kill();  // waits for flushes that run
  figures.push_back(filling.read());
  if (load.drain) {
    const Meter draining;
    drain(broker, load);
    figures.push_back(draining.read());
    broker.kill();
  }
  broker.remove();
  return figures;
}

void print(std::string_view name, const Load& load, double count,
           const std::vector<Figures>& repeats) {
  const auto middle = [&](double Figures::*figure) {
    std::vector<double> values;
    values.reserve(repeats.size());
    for (const Figures& repeat : repeats)
      values.push_back(repeat.*figure);
    return median(values);
  };
  const double payload = count * static_cast<double>(load.body_bytes) / 1e6;
  fmt::print(
      "{:<34} {:>6} B {:>5} lanes  {:>7.0f} ns CPU/msg  {:>9.0f} msg/s  {:>5.2f} x written\n", name,
      load.body_bytes, load.lanes, middle(&Figures::cpu) / count * 1e9,
      count / middle(&Figures::wall), middle(&Figures::written) / payload);
  std::fflush(stdout);
}

void report(const std::string& path, const Load& load) {
  std::vector<Figures> fills;
  std::vector<Figures> drains;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const std::vector<Figures> figures = measure(path, load);
    fills.push_back(figures.front());
    if (load.drain) drains.push_back(figures.back());
  }
  print(load.name, load, static_cast<double>(load.messages), fills);
  if (!load.drain) return;
  print("  then drained by pages", load, static_cast<double>(load.messages_in_lane()) * load.lanes,
        drains);
}

void report_recovery(const std::string& path, std::uint64_t messages) {
  const Load backlog{.name = "", .body_bytes = 1024, .messages = messages};
  Broker broker(path);
  broker.open(1);
  broker.attach();
  fill(broker, backlog);
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
    fmt::print(stderr,
               "usage: store_bench <directory that does not exist> [scale [part of name]]\n");
    return 2;
  }
  configure_logging({.console_level = LogLevel::warning, .file = ""});
  if (const char* threshold = std::getenv("STORE_BENCH_MMAP_THRESHOLD")) {
    ::mallopt(M_MMAP_THRESHOLD, std::atoi(threshold));
    ::mallopt(M_TRIM_THRESHOLD, std::atoi(threshold));
  }
  const std::string path = argv[1];
  const double scale = argc > 2 ? std::atof(argv[2]) : 1;
  const std::string_view wanted = argc > 3 ? argv[3] : "";
  const auto scaled = [scale](std::uint64_t n) {
    return static_cast<std::uint64_t>(static_cast<double>(n) * scale);
  };
  std::vector<Load> loads;
  const auto add = [&](const char* name, std::size_t body_bytes, std::uint64_t messages) -> Load& {
    return loads.emplace_back(
        Load{.name = name, .body_bytes = body_bytes, .messages = scaled(messages)});
  };
  add("fill", 16, 4'000'000).drain = true;
  add("fill", 1024, 500'000).drain = true;
  add("fill", 16384, 40'000).drain = true;
  for (const std::uint32_t lanes : {100U, 1000U}) {
    Load& many = add("fill", 1024, 400'000);
    many.lanes = lanes;
    many.drain = true;
  }
  add("fill, synced", 16, 2'000'000).synced = true;
  add("fill, synced", 1024, 500'000).synced = true;
  Load& lone = add("fill, synced, one batch at a time", 16, 500'000);
  lone.synced = true;
  lone.window = 1;
  for (const auto& [name, lag] : {std::pair{"put + settle, synced, lag 4000", 4000U},
                                  std::pair{"put + settle, synced, lag 100000", 100'000U}}) {
    for (const std::size_t body_bytes : {16U, 1024U}) {
      Load& steady = add(name, body_bytes, body_bytes == 16 ? 4'000'000 : 1'000'000);
      steady.lag = lag;
      steady.synced = true;
    }
  }
  add("put + settle, all vanish", 1024, 2'000'000).lag = 1;
  for (const std::size_t body_bytes : {64U, 256U, 1024U, 16384U}) {
    Load& spread = add("fan-out", body_bytes, body_bytes > 2000 ? 6'000 : 60'000);
    spread.lanes = 10;
    spread.fan_out = true;
    spread.drain = true;
  }
  for (const Load& load : loads) {
    if (std::string_view(load.name).find(wanted) != std::string_view::npos) report(path, load);
  }
  if (std::string_view("reopen").find(wanted) != std::string_view::npos) {
    report_recovery(path, scaled(1'000'000));
  }
  return 0;
}
