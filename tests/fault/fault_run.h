#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fault_workload.h"
#include "power_cut_fs.h"
#include "storage/rocks_store.h"
#include "tests/unit/storage/store_support.h"

namespace harrier::test {

// A store that lives on a PowerCutFs: opened, worked on by several submitters, cut off, judged.
class FaultRun {
 public:
  enum class Disk {
    simulated,
    real  // disk() does nothing: kill_process() is all that can happen
  };

  explicit FaultRun(std::uint64_t seed, Disk disk = Disk::simulated);
  ~FaultRun();
  FaultRun(const FaultRun&) = delete;
  FaultRun& operator=(const FaultRun&) = delete;

  PowerCutFs& disk() { return *disk_; }

  const std::string& path() const { return temp_.path(); }

  FaultWorkload& workload() { return workload_; }

  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  CutStyle style;
  bool accepts_data_loss = false;

  // Opens the store and judges what it holds, unless the power failed meanwhile. The error is that
  // of the store.
  Result<std::vector<std::string>, StoreError> open();

  // Submits `count` batches, waits for a wanted sync now and then: after about each `patience`-th
  // batch, never for 0. Ends early when the store failed or the power.
  void submit(std::uint64_t count, std::uint64_t patience);

  // Completes the group that is open, waits until everything submitted is durable, the store failed
  // or the power.
  void await_all();

  // Submits until the store says that the disk is full, or failed.
  void fill();

  bool is_full() const { return full_ > 0; }

  // Waits until it says that there is space again, or failed.
  void await_space();

  // Waits until every submitter heard of the failure.
  void await_failures();
  // Submits so many batches to a store that failed. They do not count.
  void submit_in_vain(std::uint64_t count);

  void stop();

  // A backup. The error's text, empty if it went well.
  std::string copy_to(const std::string& directory);

  // The power fails, if it has not, and comes back. Returns what was lost.
  std::string cut_power();
  // The process dies, the system still has all that was written.
  void kill_process();

  // On_failure and on_durable as heard by each submitter since open().
  bool failed() const { return failures_ > 0; }

  int failures() const { return failures_; }

  bool announced_after_failure() const { return announced_after_failure_; }

  // The last durable ticket of each submitter.
  std::vector<Ticket> announced() const { return {heard_.begin(), heard_.end()}; }

  // Every batch was announced.
  bool all_announced() const;

  std::string failure() const { return failure_; }

  // The files of the store with their sizes, a line each, for reports.
  std::string files() const;

  StoreError::Kind failure_kind() const { return failure_kind_; }

 private:
  StoreListener listener(std::uint32_t submitter);
  void end();

  TempDir temp_;
  const Disk kind_;
  std::mt19937_64 random_;
  FaultWorkload workload_;
  std::shared_ptr<PowerCutFs> disk_;
  std::unique_ptr<Store> store_;
  std::array<Ticket, FaultWorkload::kSubmitters> submitted_{};
  std::array<std::atomic<Ticket>, FaultWorkload::kSubmitters> heard_{};
  std::array<std::atomic<Ticket>, FaultWorkload::kSubmitters>
      durable_{};                          // before the power failed
  std::atomic<std::uint64_t> signals_{0};  // rises with every call of a listener
  std::atomic<int> full_{0};               // submitters who know
  std::atomic<int> failures_{0};
  std::atomic<bool> announced_after_failure_{false};
  std::string failure_;  // written before failures_ rises
  StoreError::Kind failure_kind_ = StoreError::Kind::io;
  bool may_be_clean_ = true;  // stop() was called in the last life, or there was none
};

}  // namespace harrier::test
