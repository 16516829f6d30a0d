#include "storage/lane_reader.h"

#include <utility>

namespace harrier {

LaneReader::LaneReader(const Columns& columns, std::uint64_t run) : columns_(columns), run_(run) {}

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
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_one();
  if (thread_.joinable()) thread_.join();
  jobs_.clear();
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
    LanePage page = read_page(columns_, run_, job.plan);
    job.done(std::move(page));
  }
}

}  // namespace harrier
