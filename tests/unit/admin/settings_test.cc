#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/admin/admin_commands.h"
#include "broker/admin/backup.h"
#include "broker/runtime/broker.h"
#include "storage/memory_store.h"

namespace harrier {
namespace {

// A broker with one shard whose turns are run after each command.
class Told {
 public:
  Told() : broker_(1, clock_, store_, [](const StoreError&) {}), backups_(store_, "/nowhere") {
    configure_logging(LogConfig{LogLevel::none, LogLevel::none, {}});
    broker_.shard(0).set_waker([this] { woken_ = true; });
    REQUIRE(broker_.recover("/"));
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

  VirtualHost& vhost() { return *broker_.shard(0).find_vhost("/"); }

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

constexpr std::string_view kOk = R"({"ok":true})";

TEST_SUITE_BEGIN("settings commands");

TEST_CASE("a policy is set, listed and cleared") {
  Told told;
  CHECK(told(R"({"command":"policy set","name":"p","pattern":"^q",)"
             R"("definition":"{\"max-length\":5,\"delayed-retry-schedule\":[1,2],)"
             R"(\"delayed-retry-multiplier\":1.5}","priority":"-3","apply-to":"queues"})") == kOk);
  CHECK(told(R"({"command":"policy list"})") ==
        R"({"ok":true,"rows":[{"vhost":"/","name":"p","pattern":"^q","apply-to":"queues",)"
        R"("definition":{"max-length":5,"delayed-retry-schedule":[1,2],)"
        R"("delayed-retry-multiplier":1.5},"priority":-3}]})");
  CHECK(told(R"({"command":"operator-policy list"})") == R"({"ok":true,"rows":[]})");
  CHECK(told(R"({"command":"policy clear","name":"p"})") == kOk);
  CHECK(told(R"({"command":"policy list"})") == R"({"ok":true,"rows":[]})");
  CHECK(told(R"({"command":"policy clear","name":"p"})") ==
        R"({"error":"Parameter does not exist"})");
}

TEST_CASE("an operator policy is one of its own") {
  Told told;
  CHECK(told(R"({"command":"operator-policy set","name":"o","pattern":".*",)"
             R"("definition":"{\"max-length\":5}"})") == kOk);
  CHECK(told.vhost().policies().find(PolicyKind::user, "o") == nullptr);
  REQUIRE(told.vhost().policies().find(PolicyKind::operators, "o") != nullptr);
  CHECK(told.vhost().policies().find(PolicyKind::operators, "o")->apply_to == "all");
  CHECK(told(R"({"command":"operator-policy clear","name":"o"})") == kOk);
}

TEST_CASE("what is wrong with a policy is told on one line, in RabbitMQ's words") {
  Told told;
  const std::string begin = R"({"command":"policy set","name":"p","pattern":"q",)";
  CHECK(
      told(begin + R"("definition":"{\"message-ttl\":\"a\"}","apply-to":"zzz"})") ==
      R"({"error":"apply-to 'zzz' unrecognised; should be one of: 'queues', 'classic_queues',  )"
      R"('quorum_queues', 'streams', 'exchanges', or 'all'; <<\"a\">> is not a valid message TTL"})");
  CHECK(told(begin + R"("definition":"{}"})") == R"({"error":"no policy provided"})");
  CHECK(told(begin + R"("definition":"{"})") ==
        R"({"error":"Could not parse JSON document: '{'"})");
  CHECK(told(begin + R"("definition":"[1]"})") ==
        R"({"error":"definition must be a dictionary: [1]"})");
  CHECK(told(begin + R"("definition":"{\"max-length\":1}","priority":"high"})") ==
        R"({"error":"high priority must be a number"})");
  CHECK(told(begin + R"("definition":"{\"max-length\":18446744073709551615}"})")
            .ends_with(R"(is not a valid maximum length"})"));
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  CHECK(told(begin + R"("definition":"{\"max-length\":)" + deep + "}\"}")
            .starts_with(R"({"error":"Could not parse JSON document: )"));
  CHECK(told(begin + R"("definition":"{\"max-length\":1}","vhost":"v"})") ==
        R"({"error":"Virtual host 'v' does not exist"})");
}

TEST_CASE("limits of virtual hosts and users are set, listed and cleared") {
  Told told;
  CHECK(told(R"({"command":"limit set","name":"max-queues","value":"5"})") == kOk);
  CHECK(told(R"({"command":"limit set","user":"u","name":"max-channels","value":"-1"})") == kOk);
  CHECK(told(R"({"command":"limit list"})") ==
        R"({"ok":true,"rows":[{"vhost":"/","name":"max-queues","value":5},)"
        R"({"user":"u","name":"max-channels","value":-1}]})");
  CHECK(told(R"({"command":"limit clear","name":"max-queues"})") == kOk);
  CHECK(told(R"({"command":"limit clear","name":"max-queues"})") ==
        R"({"error":"Parameter does not exist"})");
  CHECK(told(R"({"command":"limit set","name":"max-queues","value":"many"})") ==
        R"({"error":"max-queues should be a number, actually was many"})");
  CHECK(told(R"({"command":"limit set","name":"max-foo","value":"1"})") ==
        R"({"error":"Unrecognised terms [{<<\"max-foo\">>,1}] in limits"})");
}

TEST_CASE("parameters are set, listed and cleared, global ones without a component") {
  Told told;
  CHECK(
      told(R"({"command":"parameter set","component":"shovel","name":"s","value":"{\"a\":1}"})") ==
      kOk);
  CHECK(told(R"({"command":"parameter set","name":"g","value":"\"text\""})") == kOk);
  CHECK(told(R"({"command":"parameter list"})") ==
        R"({"ok":true,"rows":[{"name":"g","value":"text"},)"
        R"({"vhost":"/","component":"shovel","name":"s","value":{"a":1}}]})");
  CHECK(told(R"({"command":"parameter clear","component":"shovel","name":"s"})") == kOk);
  CHECK(told(R"({"command":"parameter set","name":"g","value":"text"})") ==
        R"({"error":"Could not parse JSON document: 'text'"})");
  CHECK(told(R"({"command":"parameter set","component":"policy","name":"p","value":"{}"})") ==
        R"({"error":"policies may not be set using this method"})");
}

TEST_CASE("virtual hosts are added and given a default queue type") {
  Told told;
  CHECK(told(R"({"command":"vhost add","name":"v"})") == kOk);
  CHECK(told(R"({"command":"limit set","vhost":"v","name":"max-queues","value":"5"})") == kOk);
  CHECK(told(R"({"command":"vhost add"})") ==
        R"({"error":"a virtual host's name has 1 to 255 octets"})");
  CHECK(told(R"({"command":"vhost set-queue-type","type":"quorum"})") == kOk);
  CHECK(told.vhost().default_queue_type() == "quorum");
  CHECK(told(R"({"command":"vhost set-queue-type","type":"foo"})") ==
        R"({"error":"unsupported queue type 'foo'"})");
}

TEST_SUITE_END();

}  // namespace
}  // namespace harrier
