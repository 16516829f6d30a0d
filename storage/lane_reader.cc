#include "storage/lane_reader.h"

#include <utility>

namespace harrier {

LaneReader::LaneReader(const Columns& columns, std::uint64_t first_run, OnDamage on_damage)
    : columns_(columns), first_run_(first_run), on_damage_(on_damage) {}

LaneReader::~LaneReader() {
  stop();
}

void LaneReader::read(PagePlan plan, Store::PageReader done) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    jobs_.push_back({std::move(plan), std::move(done)});
  }
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  arrived_.notify_one();
}

void LaneReader::stop() {
  take_unread();
}

std::deque<PendingPage> LaneReader::take_unread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_one();
  if (thread_.joinable()) thread_.join();
  std::deque<PendingPage> unread;
  for (Job& job : jobs_)
    unread.push_back({job.plan.request, std::move(job.done)});
  jobs_.clear();
  return unread;
}

void LaneReader::run() {
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    LanePage page = read_page(columns_, first_run_, job.plan, on_damage_);
    job.done(std::move(page));
  }
}

}  // namespace harrier
