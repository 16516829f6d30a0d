#include "broker/core/message_history.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/unit/core/core_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

MessageRef a_message(std::string_view body) {
  return Message::create(MessageParts{}, body);
}

Names bodies(const MessageHistory& history) {
  Names found;
  for (const MessageRef& message : history.messages())
    found.emplace_back(message->body().substr(0, 1));
  return found;
}

}  // namespace

TEST_SUITE("message history") {
  TEST_CASE("the last messages are kept, oldest first") {
    MessageHistory history(2);
    CHECK(bodies(history) == Names{});
    for (const char* body : {"1", "2", "3"})
      history.keep(a_message(body));
    CHECK(bodies(history) == Names{"2", "3"});
  }

  TEST_CASE("large messages do not take more memory than there is") {
    MessageHistory history(1000);
    history.keep(a_message("1"));
    history.keep(a_message("2" + std::string(MessageHistory::kOctetsMax / 2, 'x')));
    CHECK(bodies(history) == Names{"1", "2"});
    history.keep(a_message("3" + std::string(MessageHistory::kOctetsMax / 2, 'x')));
    CHECK(bodies(history) == Names{"3"});
    history.keep(a_message("4"));
    CHECK(bodies(history) == Names{"3", "4"});
    history.keep(a_message("5" + std::string(MessageHistory::kOctetsMax, 'x')));
    CHECK(bodies(history) == Names{});
    history.keep(a_message("6"));
    CHECK(bodies(history) == Names{"6"});
  }
}
