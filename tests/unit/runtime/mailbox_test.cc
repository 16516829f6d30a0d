#include "broker/runtime/mailbox.h"

#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace harrier;

namespace {

// Runs everything the box has and returns what was noted.
std::vector<int> run(Mailbox& mailbox, std::vector<int>& notes) {
  std::vector<Task> tasks;
  mailbox.take(tasks);
  for (Task& task : tasks)
    task();
  return std::exchange(notes, {});
}

}  // namespace

TEST_SUITE("Mailbox") {
  TEST_CASE("only what comes into an empty box wakes the shard") {
    Mailbox mailbox;
    std::vector<int> notes;
    const auto note = [&notes](int what) {
      return Task([&notes, what] { notes.push_back(what); });
    };
    std::vector<Task> list;

    CHECK_FALSE(mailbox.append(list));  // nothing came
    CHECK(mailbox.append(note(1)));
    CHECK_FALSE(mailbox.append(note(2)));
    list.push_back(note(3));
    list.push_back(note(4));
    CHECK_FALSE(mailbox.append(list));
    CHECK(list.empty());
    CHECK(run(mailbox, notes) == std::vector<int>{1, 2, 3, 4});

    list.push_back(note(5));
    CHECK(mailbox.append(list));
    CHECK(list.empty());
    CHECK_FALSE(mailbox.append(note(6)));
    CHECK(run(mailbox, notes) == std::vector<int>{5, 6});
    CHECK(run(mailbox, notes).empty());
  }
}
