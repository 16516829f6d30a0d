#pragma once

#include <mutex>
#include <utility>
#include <vector>

#include "base/task.h"

namespace harrier {

// Tasks on their way to one shard from all other threads. Senders collect what a turn produces and
// append it at once; only the append that finds the box empty has to wake the shard, so the cost of
// a hand-over falls as load grows.
class Mailbox {
 public:
  // Appends `tasks` in order and clears the list. True when the shard has to be woken.
  [[nodiscard]] bool append(std::vector<Task>& tasks) {
    const std::lock_guard lock(mutex_);
    const bool was_empty = tasks_.empty();
    if (was_empty) {
      tasks_.swap(tasks);
    } else {
      for (Task& task : tasks)
        tasks_.push_back(std::move(task));
      tasks.clear();
    }
    return was_empty && !tasks_.empty();
  }

  [[nodiscard]] bool append(Task task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    return tasks_.size() == 1;
  }

  // Moves everything that has arrived into `out`, which must be empty.
  void take(std::vector<Task>& out) {
    const std::lock_guard lock(mutex_);
    tasks_.swap(out);
  }

 private:
  std::mutex mutex_;
  std::vector<Task> tasks_;
};

}  // namespace harrier
