#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>

#include "storage/columns.h"
#include "storage/lane_page.h"
#include "storage/store.h"

namespace harrier {

// A page somebody waits for.
struct PendingPage {
  PageRequest request;
  Store::PageReader done;
};

// Reads pages, one after the other, on a thread of its own, so that the disk is waited for neither
// by a shard nor by commits. The thread starts with the first page.
class LaneReader {
 public:
  // `first_run` and `on_damage` as for read_page().
  LaneReader(const Columns& columns, std::uint64_t first_run, OnDamage on_damage);
  ~LaneReader();
  LaneReader(const LaneReader&) = delete;
  LaneReader& operator=(const LaneReader&) = delete;

  // `done` runs on the reader's thread, unless stop() comes first.
  void read(PagePlan plan, Store::PageReader done);

  // Ends the thread after the page at hand. Reads that wait are dropped, later ones ignored.
  void stop();

  // As stop(), and returns the reads that wait.
  std::deque<PendingPage> take_unread();

 private:
  struct Job {
    PagePlan plan;
    Store::PageReader done;
  };

  void run();

  const Columns columns_;
  const std::uint64_t first_run_;
  const OnDamage on_damage_;

  std::mutex mutex_;  // the members up to the thread
  std::condition_variable arrived_;
  std::deque<Job> jobs_;  // at most one per queue: a caller waits for its page
  bool stopping_ = false;
  std::thread thread_;  // of the thread that calls read() and stop()
};

}  // namespace harrier
