#pragma once

#include <chrono>

namespace harrier {

using Milliseconds = std::chrono::milliseconds;

// Wall-clock time in milliseconds: what TTLs are persisted in.
using Timestamp = std::chrono::sys_time<Milliseconds>;

// Where the broker reads time: once per turn, at the edge. The core is handed `now` instead.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Timestamp now() const = 0;
};

// Wall time at start plus a steady clock since, so that a stepped wall clock moves no timer.
class SystemClock final : public Clock {
 public:
  SystemClock()
      : wall_(std::chrono::system_clock::now()), steady_(std::chrono::steady_clock::now()) {}

  Timestamp now() const override {
    return std::chrono::time_point_cast<Milliseconds>(wall_ +
                                                      (std::chrono::steady_clock::now() - steady_));
  }

 private:
  std::chrono::system_clock::time_point wall_;
  std::chrono::steady_clock::time_point steady_;
};

// Time that moves only when a test says so.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(Timestamp start = Timestamp(Milliseconds(1'700'000'000'000)))
      : now_(start) {}

  Timestamp now() const override { return now_; }

  void advance(Milliseconds by) { now_ += by; }

 private:
  Timestamp now_;
};

}  // namespace harrier
