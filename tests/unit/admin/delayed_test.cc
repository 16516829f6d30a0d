#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "base/log.h"
#include "broker/admin/admin_commands.h"
#include "broker/admin/backup.h"
#include "broker/runtime/broker.h"
#include "protocol/properties.h"
#include "storage/memory_store.h"

namespace harrier {
namespace {

// A broker with one shard and a durable queue q, whose turns are run after each command.
class Told {
 public:
  Told() : broker_(1, clock_, store_, [](const StoreError&) {}), backups_(store_, "/nowhere") {
    configure_logging(LogConfig{LogLevel::none, LogLevel::none, {}});
    broker_.shard(0).set_waker([this] { woken_ = true; });
    REQUIRE(broker_.recover("/"));
    QueueDefinition wanted;
    wanted.name = "q";
    wanted.durable = true;
    broker_.control().declare_queue(broker_.shard(0), "/", wanted, {}, false,
                                    [](const Result<void, ProtocolError>&) {});
    run();
  }

  // The reply without its newline.
  std::string operator()(std::string_view line) {
    std::string reply = "nothing\n";
    run_admin_command({backups_, broker_}, line, [&](AdminAnswer answer) { reply = answer(); });
    run();
    reply.pop_back();
    return reply;
  }

  void publish_delayed(std::string_view body, std::string_view cancel_key) {
    BasicProperties properties;
    properties.headers.emplace();
    properties.headers->append("x-delay", Value::int32(60'000));
    properties.headers->append("x-cancel-key", Value::long_string(cancel_key));
    Buffer octets;
    properties.encode(octets);
    MessageParts parts;
    parts.properties = octets.view();
    parts.persistent = true;
    parts.delay_headers = true;
    queue().enqueue(Message::create(parts, body), broker_.shard(0).now());
    run();
  }

  Queue& queue() { return *broker_.shard(0).find_vhost("/")->find_queue("q")->queue(); }

 private:
  void run() {
    do {
      woken_ = false;
      broker_.shard(0).begin_turn();
      broker_.shard(0).run_mailbox();
      broker_.shard(0).end_turn();
    } while (woken_);
  }

  SystemClock clock_;
  MemoryStore store_;
  bool woken_ = false;
  Broker broker_;
  Backups backups_;
};

TEST_SUITE_BEGIN("delayed command");

TEST_CASE("delayed messages are counted, cancelled and released") {
  Told told;
  CHECK(told(R"({"command":"delayed","queue":"q"})") == R"({"ok":true,"messages_delayed":0})");
  told.publish_delayed("a", "1");
  told.publish_delayed("b", "2");
  told.publish_delayed("c", "2");
  CHECK(told(R"({"command":"delayed","queue":"q"})") == R"({"ok":true,"messages_delayed":3})");
  CHECK(told(R"({"command":"delayed","queue":"q","cancel":"2"})") ==
        R"({"ok":true,"messages_delayed":1,"cancelled":2})");
  CHECK(told(R"({"command":"delayed","queue":"q","cancel":"2"})") ==
        R"({"ok":true,"messages_delayed":1,"cancelled":0})");
  CHECK(told(R"({"command":"delayed","queue":"q","release":"true"})").find(R"("released":1)") !=
        std::string::npos);
  CHECK(told.queue().ready_count() == 1);
  CHECK(told(R"({"command":"delayed","queue":"q"})") == R"({"ok":true,"messages_delayed":0})");
}

TEST_CASE("a queue that is not there is said so") {
  Told told;
  CHECK(told(R"({"command":"delayed","queue":"x"})") == R"({"error":"no queue 'x' in vhost '/'"})");
  CHECK(told(R"({"command":"delayed","queue":"q","vhost":"v"})") ==
        R"({"error":"no queue 'q' in vhost 'v'"})");
}

TEST_SUITE_END();

}  // namespace
}  // namespace harrier
