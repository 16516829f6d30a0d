#include "fault_run.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include <fmt/core.h>

namespace harrier::test {

namespace {

constexpr std::uint64_t kWriteBufferBytes = 64 << 10;  // an epoch lasts some dozen batches

}  // namespace

FaultRun::FaultRun(std::uint64_t seed, Disk disk)
    : kind_(disk), random_(seed), workload_(random_()) {
  std::filesystem::create_directory(temp_.path() + "/graveyard");
  disk_ = std::make_shared<PowerCutFs>(temp_.path() + "/graveyard", random_() % 3 == 0
                                                                        ? DirectoryRule::strict
                                                                        : DirectoryRule::journal);
}

FaultRun::~FaultRun() {
  store_.reset();
}

Result<std::vector<std::string>, StoreError> FaultRun::open() {
  StoreConfig config;
  config.data_dir = temp_.path() + "/data";
  config.write_buffer_bytes = kWriteBufferBytes;
  config.accept_data_loss = accepts_data_loss;
  if (kind_ == Disk::simulated) config.file_system = disk_;
  auto opened = open_rocks_store(config);
  if (!opened) return fail(opened.error());
  store_ = *std::move(opened);
  auto found =
      read_back(*store_, workload_.lanes(), may_be_clean_ ? AfterCrash::no : AfterCrash::yes);
  if (!found) return fail(found.error());
  const bool by_pages = below(2) == 0;
  if (!by_pages) {
    if (auto scanned = scan_entries(*store_, *found); !scanned) return fail(scanned.error());
  }
  const std::vector<Ticket> announced(durable_.begin(), durable_.end());
  failures_ = 0;
  full_ = 0;
  for (std::uint32_t i = 0; i < FaultWorkload::kSubmitters; ++i) {
    submitted_[i] = 0;
    heard_[i] = 0;
    durable_[i] = 0;
    store_->add_submitter(listener(i));
  }
  if (by_pages) {
    if (auto read = read_pages(*store_, 1 + below(50'000), *found); !read)
      return fail(read.error());
  }
  if (disk_->frozen()) {
    std::ranges::copy(announced, durable_.begin());
    return std::vector<std::string>{};
  }
  auto wrong = workload_.judge(*found, announced);
  may_be_clean_ = false;
  return wrong;
}

StoreListener FaultRun::listener(std::uint32_t submitter) {
  const auto signal = [this] {
    ++signals_;
    signals_.notify_all();
  };
  return {.on_durable =
              [this, submitter, signal](Ticket ticket) {
                if (failures_ > 0) announced_after_failure_ = true;
                heard_[submitter] = ticket;
                if (!disk_->frozen()) durable_[submitter] = ticket;
                signal();
              },
          .on_failure =
              [this, signal](const StoreError& error) {
                if (failures_ == 0) {
                  failure_ = error.detail;
                  failure_kind_ = error.kind;
                }
                ++failures_;
                signal();
              },
          .on_space =
              [this, signal](bool is_full) {
                full_ += is_full ? 1 : -1;
                signal();
              }};
}

void FaultRun::submit(std::uint64_t count, std::uint64_t patience) {
  for (; count > 0 && !failed() && !disk_->frozen(); --count) {
    const Submission& next = workload_.next();
    StoreBatch batch = to_batch(next);
    submitted_[next.submitter] = next.ticket;
    store_->submit(SubmitterId{next.submitter}, batch);
    if (patience == 0 || !next.want_sync || below(patience) != 0) continue;
    if (workload_.has_open_group()) continue;  // it would be held back
    while (!failed() && !is_full() && heard_[next.submitter] < next.ticket) {
      const std::uint64_t seen = signals_;
      if (failed() || is_full() || heard_[next.submitter] >= next.ticket) break;
      signals_.wait(seen);
    }
  }
}

bool FaultRun::all_announced() const {
  for (std::uint32_t i = 0; i < FaultWorkload::kSubmitters; ++i) {
    if (heard_[i] != submitted_[i]) return false;
  }
  return true;
}

void FaultRun::await_all() {
  while (workload_.has_open_group() && !failed() && !disk_->frozen())
    submit(1, 0);
  while (!failed() && !disk_->frozen() && !all_announced()) {
    const std::uint64_t seen = signals_;
    if (failed() || disk_->frozen() || all_announced()) break;
    signals_.wait(seen);
  }
}

void FaultRun::fill() {
  while (!failed() && !is_full())
    submit(10, 1);
}

void FaultRun::await_space() {
  while (!failed() && is_full()) {
    const std::uint64_t seen = signals_;
    if (failed() || !is_full()) break;
    signals_.wait(seen);
  }
}

void FaultRun::await_failures() {
  for (;;) {
    const std::uint64_t seen = signals_;
    if (failures_ >= static_cast<int>(FaultWorkload::kSubmitters)) return;
    signals_.wait(seen);
  }
}

void FaultRun::submit_in_vain(std::uint64_t count) {
  for (; count > 0; --count) {
    StoreBatch batch = to_batch(workload_.next());
    store_->submit(SubmitterId{static_cast<std::uint32_t>(count % FaultWorkload::kSubmitters)},
                   batch);
  }
}

std::string FaultRun::files() const {
  std::string lines;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path() + "/data")) {
    if (!entry.is_regular_file()) continue;
    lines += fmt::format("  {} {}\n", entry.path().native(), entry.file_size());
    if (entry.path().filename() == "CURRENT") {
      std::ifstream current(entry.path());
      lines.append(std::istreambuf_iterator<char>(current), {});
    }
  }
  return lines;
}

void FaultRun::stop() {
  may_be_clean_ = true;
  workload_.forget_open_group();
  store_->stop();
}

std::string FaultRun::copy_to(const std::string& directory) {
  return copy_store(*store_, directory);
}

void FaultRun::end() {
  if (kind_ == Disk::simulated) disk_->freeze();
  store_.reset();
}

std::string FaultRun::cut_power() {
  end();
  return disk_->cut_power(random_, style);
}

void FaultRun::kill_process() {
  end();
  if (kind_ == Disk::simulated) disk_->kill_process();
}

}  // namespace harrier::test
