#include "broker/runtime/log_exchange.h"

#include <string>
#include <thread>

#include <doctest/doctest.h>

#include "base/log.h"
#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

constexpr Logger kLog("test");

// A broker whose log exchange has a queue for some levels.
struct LoggingBroker {
  explicit LoggingBroker(const std::string& key, ShardIndex home = 0)
      : name(cluster.name_at(home)) {
    REQUIRE(cluster.declare(0, a_queue(name)) == "ok");
    BindingDefinition binding;
    binding.source = "amq.rabbitmq.log";
    binding.destination = name;
    binding.routing_key = key;
    REQUIRE(cluster.bind(0, binding) == "ok");
  }

  // What the queue holds, oldest first.
  Bodies lines() {
    cluster.run();
    Bodies found;
    cluster.turn(cluster.definition(name).home, [&] {
      for (bool more = true; more;) {
        more = false;
        cluster.queue(name).get(true, [&](GetResult got) {
          if (!got || !*got) return;
          more = true;
          const Message& message = *(*got)->delivery.message;
          found.push_back(std::string(message.routing_key()) + "|" + std::string(message.body()));
        });
      }
    });
    return found;
  }

  Cluster cluster{2, nullptr, LogExchange::declared};
  const std::string name;
};

}  // namespace

TEST_SUITE("log exchange") {
  TEST_CASE("lines go out with their level as key, on any shard's queues") {
    for (const ShardIndex home : {ShardIndex{0}, ShardIndex{1}}) {
      LoggingBroker broker("#", home);
      LogPublisher publisher(broker.cluster.broker, LogLevel::info);
      kLog.debug("not asked for");
      kLog.info("one");
      kLog.warning("two\n");
      std::thread([] { kLog.error("from another thread"); }).join();
      CHECK(broker.lines() ==
            Bodies{"info|test: one", "warning|test: two\\x0a", "error|test: from another thread"});
    }
  }

  TEST_CASE("only the levels that are bound are kept") {
    LoggingBroker broker("error");
    LogPublisher publisher(broker.cluster.broker, LogLevel::debug);
    kLog.debug("one");
    kLog.error("two");
    CHECK(broker.lines() == Bodies{"error|test: two"});
  }

  TEST_CASE("nothing goes out once it has stopped, nor without the exchange") {
    LoggingBroker broker("#");
    {
      LogPublisher publisher(broker.cluster.broker, LogLevel::info);
      publisher.stop();
      kLog.error("too late");
    }
    kLog.error("nobody is there");
    CHECK(broker.lines() == Bodies{});
    Cluster plain(1);
    LogPublisher publisher(plain.broker, LogLevel::info);
    kLog.error("nowhere to go");
    plain.run();
    CHECK(plain.replicas_with_exchange("amq.rabbitmq.log") == 0);
  }

  TEST_CASE("lines beyond what may wait are left out, and it goes on afterwards") {
    LoggingBroker broker("#");
    LogPublisher publisher(broker.cluster.broker, LogLevel::info);
    for (int line = 0; line < LogPublisher::kPendingMax + 10; ++line)
      kLog.info("{}", line);
    Bodies lines = broker.lines();
    REQUIRE(lines.size() == static_cast<std::size_t>(LogPublisher::kPendingMax));
    CHECK(lines.front() == "info|test: 0");
    kLog.info("after");
    CHECK(broker.lines() == Bodies{"info|test: after"});
  }

  TEST_CASE("what a consumer of the log makes the broker log does not come back") {
    struct Chatty : Consumer {
      bool can_take() const override { return true; }

      void deliver(Delivery&&) override {
        ++delivered;
        kLog.info("delivered");
      }

      void cancelled() override {}

      int delivered = 0;
    };

    LoggingBroker broker("#");
    LogPublisher publisher(broker.cluster.broker, LogLevel::info);
    Chatty chatty;
    Queue& queue = broker.cluster.queue(broker.name);
    ConsumerOptions options;
    options.no_ack = true;
    QueueConsumer* consumer = nullptr;
    broker.cluster.turn(0, [&] { consumer = *queue.consume(chatty, options); });
    kLog.info("one");
    broker.cluster.run();
    CHECK(chatty.delivered == 1);
    broker.cluster.turn(0, [&] { (void)queue.cancel(*consumer); });
  }
}
