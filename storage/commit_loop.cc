#include "storage/commit_loop.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/assert.h"
#include "base/log.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");
constexpr std::size_t kSpareMax = 64;
constexpr std::size_t kSpareOperationsMax = 16384;  // memory of larger batches is not kept

}  // namespace

Result<void, StoreError> CommitTarget::heal() {
  return fail(StoreError{StoreError::Kind::io, "the disk was full"});
}

CommitLoop::CommitLoop(CommitTarget& target, CommitLimits limits)
    : target_(target), limits_(limits) {}

CommitLoop::~CommitLoop() {
  {
    const std::lock_guard lock(mutex_);
    if (ending_ == Ending::none) ending_ = Ending::abandon;
  }
  arrived_.notify_one();
  if (thread_.joinable()) thread_.join();
  for (const CopyRequest& request : copies_)
    request.done(fail(StoreError{StoreError::Kind::io, "the store is gone"}));
}

SubmitterId CommitLoop::add_submitter(StoreListener listener) {
  const std::lock_guard lock(mutex_);
  HARRIER_CHECK(!thread_.joinable());
  submitters_.push_back({.listener = std::move(listener)});
  return SubmitterId{static_cast<std::uint32_t>(submitters_.size() - 1)};
}

Ticket CommitLoop::submit(SubmitterId submitter, StoreBatch& batch) {
  bool wake = false;
  Ticket ticket = 0;
  {
    const std::lock_guard lock(mutex_);
    HARRIER_CHECK(submitter.value < submitters_.size());
    HARRIER_CHECK(ending_ == Ending::none);
    ticket = ++submitters_[submitter.value].last;
    if (!failed_) {
      start_thread();
      ++submitted_;
      inbox_origins_.push_back({submitter, ticket});
      inbox_.push_back(std::move(batch));
      batch = StoreBatch();
      if (!spare_.empty()) {
        batch = std::move(spare_.back());
        spare_.pop_back();
      }
      wake = std::exchange(waiting_, false);
    }
  }
  if (wake) arrived_.notify_one();
  batch.clear();
  return ticket;
}

void CommitLoop::read(const PageRequest& request, Store::PageReader done) {
  HARRIER_CHECK(request.from < request.end);
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (failed_ || ending_ != Ending::none) return;
    start_thread();
    inbox_reads_.push_back({submitted_, request, std::move(done)});
    wake = std::exchange(waiting_, false);
  }
  if (wake) arrived_.notify_one();
}

void CommitLoop::start_thread() {
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void CommitLoop::copy_to(std::string directory, Store::CopyDone done) {
  {
    const std::lock_guard lock(mutex_);
    HARRIER_CHECK(ending_ == Ending::none);
    if (!failed_) {
      start_thread();
      copies_.push_back({std::move(directory), std::exchange(done, nullptr)});
      waiting_ = false;
    }
  }
  if (done) return done(fail(StoreError{StoreError::Kind::io, "the store has failed"}));
  arrived_.notify_one();
}

void CommitLoop::stop() {
  if (std::exchange(stopped_, true)) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = Ending::drain;
  }
  arrived_.notify_one();
  if (thread_.joinable()) {
    thread_.join();
  } else if (auto finished = finish(); !finished) {
    give_up(finished.error());
  }
}

void CommitLoop::run() {
  active_at_ = Clock::now();
  for (;;) {
    Result<void, StoreError> done;
    const Wake wake = await_batches();
    if (wake == Wake::abandon) return;
    if (wake == Wake::batches) {
      read_pages();
    } else if (wake == Wake::sync_due) {
      done = sync();
      if (!done) done = heal(done.error());
    } else if (wake == Wake::idle) {
      active_at_ = Clock::now();
      done = target_.tidy(true);
      if (!done) done = heal(done.error());
    } else if (wake == Wake::copy) {
      done = copy();
      if (!done) done = heal(done.error());
    }
    if (done) done = commit_waiting();
    if (done && wake == Wake::drain) done = finish();
    if (!done && is_abandoned()) return;
    if (!done) give_up(done.error());
    if (!done || wake == Wake::drain) return;
  }
}

CommitLoop::Wake CommitLoop::await_batches() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (ending_ == Ending::abandon) return Wake::abandon;
    if (!copies_.empty()) return Wake::copy;
    if (!inbox_.empty() || !inbox_reads_.empty()) break;
    if (ending_ == Ending::drain) return Wake::drain;
    const Clock::time_point deadline = wake_at();
    waiting_ = true;
    const std::cv_status status = arrived_.wait_until(lock, deadline);
    waiting_ = false;
    if (status == std::cv_status::timeout && inbox_.empty() && inbox_reads_.empty() &&
        copies_.empty() && ending_ == Ending::none) {
      return unsynced_bytes_ > 0 ? Wake::sync_due : Wake::idle;
    }
  }
  take_inbox();
  return Wake::batches;
}

CommitLoop::Clock::time_point CommitLoop::wake_at() const {
  return unsynced_bytes_ > 0 ? unsynced_since_ + limits_.unsynced_time_max
                             : active_at_ + limits_.idle_after;
}

void CommitLoop::take_inbox() {
  const std::size_t known = batches_.size();
  std::move(inbox_.begin(), inbox_.end(), std::back_inserter(batches_));
  std::move(inbox_origins_.begin(), inbox_origins_.end(), std::back_inserter(origins_));
  std::move(inbox_reads_.begin(), inbox_reads_.end(), std::back_inserter(reads_));
  inbox_.clear();
  inbox_origins_.clear();
  inbox_reads_.clear();
  scan_groups(known);
}

void CommitLoop::scan_groups(std::size_t first) {
  for (std::size_t i = first; i < batches_.size(); ++i) {
    for (const StoreBatch::GroupPart& part : batches_[i].groups()) {
      auto missing = missing_parts_.try_emplace(part.group, part.parts).first;
      if (--missing->second == 0) missing_parts_.erase(missing);
    }
    origins_[i].closes_prefix = missing_parts_.empty();
    if (missing_parts_.empty()) closed_ = i + 1;
  }
}

// How many batches the next commit takes; 0 if there are none or a group is still incomplete.
std::size_t CommitLoop::choose_commit() const {
  std::size_t chosen = 0;
  std::size_t bytes = 0;
  std::size_t operations = 0;
  for (std::size_t i = 0; i < closed_; ++i) {
    bytes += batches_[i].bytes();
    operations += batches_[i].operations().size();
    if (origins_[i].closes_prefix) {
      chosen = i + 1;
      if (bytes >= limits_.bytes_max || operations >= limits_.operations_max) break;
    }
  }
  return chosen;
}

// Under steady cross-shard load some group may be open wherever a prefix ends. Then no new ones are
// wanted until all that came so far is written: those that are open are completed meanwhile.
void CommitLoop::watch_groups() {
  if (batches_.empty()) {
    held_since_ = Clock::time_point::max();
    if (groups_held_) hold_groups(false);
    return;
  }
  const Clock::time_point now = Clock::now();
  held_since_ = std::min(held_since_, now);
  if (!groups_held_ && now >= held_since_ + limits_.group_wait_max) hold_groups(true);
}

void CommitLoop::hold_groups(bool hold) {
  groups_held_ = hold;
  for (Submitter& submitter : submitters_) {
    if (submitter.listener.on_group_hold) submitter.listener.on_group_hold(hold);
  }
}

Result<void, StoreError> CommitLoop::commit_waiting() {
  while (const std::size_t count = choose_commit()) {
    if (auto done = commit(count); !done) return done;
    held_since_ = Clock::time_point::max();  // what is left came later
  }
  watch_groups();
  read_pages_ahead();
  return {};
}

Result<void, StoreError> CommitLoop::commit(std::size_t count) {
  take(count);
  auto done = write(std::span(unsynced_).last(count));
  return done ? done : heal(done.error());
}

Result<void, StoreError> CommitLoop::write(std::span<StoreBatch> taken) {
  const bool sync_wanted =
      std::any_of(taken.begin(), taken.end(), [](const StoreBatch& b) { return b.sync_wanted(); });
  active_at_ = Clock::now();
  unwritten_ = taken.size();
  const auto written = target_.write(taken);
  if (!written) return fail(written.error());
  unwritten_ = 0;
  read_pages();  // they need no sync
  if (unsynced_bytes_ == 0) unsynced_since_ = active_at_;
  unsynced_bytes_ = *written;
  if (unsynced_bytes_ == 0) {
    announce();
    return target_.tidy(false);
  }
  if (sync_wanted || unsynced_bytes_ >= limits_.unsynced_bytes_max ||
      active_at_ >= unsynced_since_ + limits_.unsynced_time_max) {
    return sync();
  }
  return {};
}

Result<void, StoreError> CommitLoop::sync() {
  if (auto synced = target_.sync(); !synced) return synced;
  unsynced_bytes_ = 0;
  announce();
  return target_.tidy(false);
}

Result<void, StoreError> CommitLoop::copy() {
  CopyRequest request;
  {
    const std::lock_guard lock(mutex_);
    request = std::move(copies_.front());
    copies_.pop_front();
  }
  Result<void, StoreError> outcome;
  if (unsynced_bytes_ > 0) outcome = sync();
  if (!outcome) {
    request.done(outcome);
    return outcome;
  }
  const CommitTarget::CopyResult copied = target_.copy_to(request.directory);
  if (!copied) outcome = fail(copied.error());
  request.done(copied ? *copied : outcome);
  return outcome;
}

// Waits for space and goes on as if nothing had happened; pages are read meanwhile, so consumers go
// on. Returns every other error as it is, and that the disk is full when the loop is to end.
Result<void, StoreError> CommitLoop::heal(StoreError error) {
  if (error.kind != StoreError::Kind::no_space) return fail(std::move(error));
  kLog.error("the disk is full, nothing is confirmed until there is space: {}", error.detail);
  tell_space(true);
  for (Ending ending = Ending::none; ending == Ending::none;) {
    ending = await_space();
    if (ending == Ending::abandon) break;
    auto healed = target_.heal();
    if (healed) healed = write_again();
    if (healed) {
      kLog.warning("the disk has space again, the store goes on");
      tell_space(false);
      return {};
    }
    error = healed.error();
    if (error.kind != StoreError::Kind::no_space) break;
  }
  return fail(std::move(error));
}

// One commit for all: part of it may be there already, and must not be undone by half.
Result<void, StoreError> CommitLoop::write_again() {
  unwritten_ = unsynced_.size();
  if (!unsynced_.empty()) {
    const auto written = target_.write(unsynced_);
    if (!written) return fail(written.error());
  }
  if (auto synced = target_.sync(); !synced) return synced;
  unwritten_ = 0;
  unsynced_bytes_ = 0;
  announce();
  read_pages();
  return {};
}

// Until the next attempt, or the end of the loop.
CommitLoop::Ending CommitLoop::await_space() {
  const Clock::time_point deadline = Clock::now() + limits_.heal_pause;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      waiting_ = inbox_reads_.empty();
      arrived_.wait_until(lock, deadline,
                          [this] { return ending_ != Ending::none || !inbox_reads_.empty(); });
      waiting_ = false;
      if (ending_ != Ending::none || Clock::now() >= deadline) return ending_;
      take_inbox();
    }
    read_pages_ahead();
  }
}

void CommitLoop::tell_space(bool is_full) {
  for (Submitter& submitter : submitters_) {
    if (submitter.listener.on_space) submitter.listener.on_space(is_full);
  }
}

bool CommitLoop::is_abandoned() {
  const std::lock_guard lock(mutex_);
  return ending_ == Ending::abandon;
}

Result<void, StoreError> CommitLoop::finish() {
  target_.end_reads();
  if (unsynced_bytes_ > 0) {
    if (auto synced = sync(); !synced) {
      if (auto healed = heal(synced.error()); !healed) return healed;
    }
  }
  if (!batches_.empty()) {  // written alone they would be torn for good
    kLog.warning("{} groups were never completed: {} batches are given up, as after a crash",
                 missing_parts_.size(), batches_.size());
    return {};
  }
  auto closed = target_.close();
  if (closed) return closed;
  // A flush in the background may have met a full disk that nobody has heard of yet.
  const auto healed = heal(closed.error());
  return healed ? target_.close() : healed;
}

void CommitLoop::announce() {
  recycle();
  for (Submitter& submitter : submitters_) {
    if (submitter.announced == submitter.written) continue;
    submitter.announced = submitter.written;
    if (submitter.listener.on_durable) submitter.listener.on_durable(submitter.written);
  }
}

// A page must show what was submitted before it was asked for.
void CommitLoop::read_pages() {
  for (; !reads_.empty() && reads_.front().after <= written_; reads_.pop_front()) {
    target_.read(reads_.front().request, std::move(reads_.front().done));
  }
}

// Groups or a full disk hold batches back: pages need not wait for them but where they show what
// those put.
void CommitLoop::read_pages_ahead() {
  if (reads_.empty()) return;
  const std::unordered_map<LaneId, Sequence> missing = first_missing_puts();
  std::erase_if(reads_, [&](PendingRead& read) {
    const auto put = missing.find(read.request.lane);
    if (put != missing.end()) {
      if (put->second <= read.request.from) return false;
      read.request.end = std::min(read.request.end, put->second);
    }
    target_.read(read.request, std::move(read.done));
    return true;
  });
}

// Of the batches that are not written, by lane. Sequences ascend in each.
std::unordered_map<LaneId, Sequence> CommitLoop::first_missing_puts() const {
  std::unordered_map<LaneId, Sequence> missing;
  const auto add = [&missing](const StoreBatch& batch) {
    for (const StoreBatch::Operation& operation : batch.operations()) {
      if (operation.kind != StoreBatch::Operation::Kind::put) continue;
      missing.try_emplace(operation.lane, operation.seq);
    }
  };
  std::for_each(unsynced_.end() - static_cast<std::ptrdiff_t>(unwritten_), unsynced_.end(), add);
  std::for_each(batches_.begin(), batches_.end(), add);
  return missing;
}

// From here on nothing is written and nothing confirmed. Submitters may go on submitting.
void CommitLoop::give_up(const StoreError& error) {
  kLog.critical("the store stops: {}", error.detail);
  std::deque<CopyRequest> copies;
  {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    inbox_.clear();
    inbox_origins_.clear();
    inbox_reads_.clear();
    copies.swap(copies_);
  }
  target_.end_reads();
  for (const CopyRequest& request : copies)
    request.done(fail(error));
  batches_.clear();
  reads_.clear();
  unsynced_.clear();
  for (Submitter& submitter : submitters_) {
    if (submitter.listener.on_failure) submitter.listener.on_failure(error);
  }
}

// Moves the first `count` batches to the unsynced ones.
void CommitLoop::take(std::size_t count) {
  const auto end = static_cast<std::ptrdiff_t>(count);
  for (std::size_t i = 0; i < count; ++i) {
    submitters_[origins_[i].submitter.value].written = origins_[i].ticket;
  }
  std::move(batches_.begin(), batches_.begin() + end, std::back_inserter(unsynced_));
  batches_.erase(batches_.begin(), batches_.begin() + end);
  origins_.erase(origins_.begin(), origins_.begin() + end);
  closed_ -= count;
  written_ += count;  // or will be, before anything else is done
}

// Drops what is synced; its memory goes back to the submitters.
void CommitLoop::recycle() {
  for (StoreBatch& used : unsynced_)
    used.clear();
  {
    const std::lock_guard lock(mutex_);
    for (auto used = unsynced_.begin(); used != unsynced_.end() && spare_.size() < kSpareMax;
         ++used) {
      if (used->operations().capacity() <= kSpareOperationsMax) spare_.push_back(std::move(*used));
    }
  }
  unsynced_.clear();
}

}  // namespace harrier
