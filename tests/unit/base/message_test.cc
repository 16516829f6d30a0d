#include "base/message.h"

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace harrier;

namespace {

MessageParts some_parts() {
  MessageParts parts;
  parts.exchange = "amq.topic";
  parts.routing_key = "a.b";
  parts.properties = ByteView("\x10\x00\x02", 3);
  parts.persistent = true;
  parts.priority = 7;
  parts.ttl_ms = 60'000;
  return parts;
}

}  // namespace

TEST_SUITE("Message") {
  TEST_CASE("all parts come back as they were given") {
    const MessageRef message = Message::create(some_parts(), "the body");
    CHECK(message->exchange() == "amq.topic");
    CHECK(message->routing_key() == "a.b");
    CHECK(message->properties() == ByteView("\x10\x00\x02", 3));
    CHECK(message->body() == "the body");
    CHECK(message->persistent());
    CHECK(message->priority() == 7);
    CHECK(message->ttl_ms() == 60'000);
  }

  TEST_CASE("the parts are copied, none has to live on") {
    std::string exchange = "exchange";
    std::string key = "key";
    std::string body = "body";
    MessageParts parts;
    parts.exchange = exchange;
    parts.routing_key = key;
    const MessageRef message = Message::create(parts, body);
    exchange.assign("????????");
    key.assign("???");
    body.assign("????");
    CHECK(message->exchange() == "exchange");
    CHECK(message->routing_key() == "key");
    CHECK(message->body() == "body");
  }

  TEST_CASE("empty parts and the longest names are fine") {
    const MessageRef nothing = Message::create(MessageParts{}, ByteView());
    CHECK(nothing->exchange().empty());
    CHECK(nothing->routing_key().empty());
    CHECK(nothing->properties().empty());
    CHECK(nothing->body().empty());
    CHECK_FALSE(nothing->persistent());
    CHECK(nothing->ttl_ms() == -1);

    const std::string exchange(255, 'x');
    const std::string key(255, 'k');
    const std::string properties(70'000, 'p');
    MessageParts parts;
    parts.exchange = exchange;
    parts.routing_key = key;
    parts.properties = properties;
    const MessageRef message = Message::create(parts, "b");
    CHECK(message->exchange() == exchange);
    CHECK(message->routing_key() == key);
    CHECK(message->properties() == properties);
    CHECK(message->body() == "b");
  }

  TEST_CASE("a body can be written in pieces by its only holder") {
    const MessageRef message = Message::create(some_parts(), 6);
    std::memcpy(message->mutable_body(), "abc", 3);
    std::memcpy(message->mutable_body() + 3, "def", 3);
    CHECK(message->body() == "abcdef");
    CHECK(message->routing_key() == "a.b");
  }

  TEST_CASE("the footprint counts every octet once") {
    const MessageRef message = Message::create(some_parts(), std::string(1000, 'x'));
    CHECK(message->footprint() == sizeof(Message) + 9 + 3 + 3 + 1000);
  }
}

TEST_SUITE("MessageRef") {
  TEST_CASE("a default one is null, a moved one becomes null") {
    MessageRef none;
    CHECK_FALSE(none);
    CHECK(none.get() == nullptr);
    MessageRef message = Message::create(some_parts(), "x");
    REQUIRE(message);
    const Message* address = message.get();
    MessageRef moved(std::move(message));
    CHECK_FALSE(message);  // NOLINT(bugprone-use-after-move): the contract under test
    CHECK(moved.get() == address);
    none = std::move(moved);
    CHECK(none.get() == address);
  }

  TEST_CASE("copies share one message, which ends with the last of them") {
    MessageRef first = Message::create(some_parts(), "shared");
    std::vector<MessageRef> copies(100, first);
    for (const MessageRef& copy : copies)
      CHECK(copy.get() == first.get());
    first = MessageRef();
    copies.resize(1);
    CHECK(copies[0]->body() == "shared");
  }

  TEST_CASE("assigning to itself keeps the message, assigning another lets go of it") {
    MessageRef message = Message::create(some_parts(), "one");
    const MessageRef& same = message;
    message = same;
    CHECK(message->body() == "one");
    message = Message::create(some_parts(), "two");
    CHECK(message->body() == "two");
  }

  // Which thread drops the last share is a race on purpose: the sanitizers watch it.
  TEST_CASE("two threads may copy and drop shares at the same time") {
    for (int round = 0; round < 50; ++round) {
      MessageRef mine = Message::create(some_parts(), "contended");
      std::atomic<int> ready{0};
      std::atomic<int> wrong{0};
      const auto work = [&ready, &wrong](MessageRef share) {
        ++ready;
        while (ready < 2) {
        }
        for (int i = 0; i < 500; ++i) {
          MessageRef copy = share;
          MessageRef other(std::move(copy));
          if (other->body() != "contended") ++wrong;
        }
      };
      std::thread first(work, mine);
      std::thread second(work, std::move(mine));
      first.join();
      second.join();
      CHECK(wrong == 0);
    }
  }
}
