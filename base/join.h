#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "base/task.h"

namespace harrier {

// Runs a task once every share handed out has been used and the Join itself is gone:
//   Join join([...] { all done });
//   start_something(join.share());
// All shares are used on one thread. Dropping a share unused drops the task unrun.
class Join {
 public:
  explicit Join(Task done) : state_(std::make_shared<State>()) { state_->done = std::move(done); }

  Join(const Join&) = delete;
  Join& operator=(const Join&) = delete;

  ~Join() { use(*state_); }

  Task share() {
    ++state_->left;
    return [state = state_] { use(*state); };
  }

 private:
  struct State {
    std::size_t left = 1;
    Task done;
  };

  static void use(State& state) {
    if (--state.left == 0) std::exchange(state.done, Task())();
  }

  std::shared_ptr<State> state_;
};

}  // namespace harrier
