#include "broker/admin/admin_commands.h"

#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "base/clock.h"
#include "broker/admin/backup.h"
#include "broker/runtime/broker.h"
#include "storage/memory_store.h"
#include "tests/unit/admin/temp_folder.h"

namespace harrier {
namespace {

// The reply to one line of a broker whose store cannot be copied.
std::string told(std::string_view line, const std::string& data_dir = "/nowhere") {
  MemoryStore store;
  const SystemClock clock;
  Broker broker(1, clock, store, [](const StoreError&) {});
  Backups backups(store, data_dir);
  CHECK(broker.recover("/"));
  const AdminContext context{backups, broker};
  std::string reply;
  run_admin_command(context, line, [&](AdminAnswer answer) { reply = answer(); });
  broker.shard(0).begin_turn();
  broker.shard(0).run_mailbox();
  broker.shard(0).end_turn();
  return reply;
}

std::string error(const std::string& text) {
  return to_line(fail(text));
}

TEST_SUITE_BEGIN("admin commands");

TEST_CASE("every command of the table is named once") {
  std::set<std::string_view> names;
  for (const AdminCommand& command : admin_commands()) {
    CAPTURE(std::string(command.name));
    CHECK(names.insert(command.name).second);
  }
}

TEST_CASE("what cannot be understood is answered with why") {
  CHECK(told("{") == error("a request is one line with a JSON object, as {\"command\":\"...\"}"));
  CHECK(told(R"({"command":"bakup"})") == error("unknown command 'bakup'"));
}

TEST_CASE("a backup goes to an absolute path outside of the data directory") {
  const TempFolder folder;
  const std::string& data_dir = folder.path();
  CHECK(told(R"({"command":"backup"})", data_dir) == error("backup needs a \"directory\""));
  CHECK(told(R"({"command":"backup","directory":"copy"})", data_dir) ==
        error("backup needs an absolute path, not copy"));
  for (const std::string& inside : {data_dir, data_dir + "/", data_dir + "/copy",
                                    data_dir + "/nothing/../a/b", "/proc/self/root" + data_dir}) {
    CHECK(told(R"({"command":"backup","directory":")" + inside + "\"}", data_dir) ==
          error(inside + " lies in the data directory; name another"));
  }
}

TEST_CASE("trace is switched for a virtual host that exists") {
  CHECK(told(R"({"command":"trace","vhost":"/","state":"on"})") ==
        "{\"ok\":true,\"vhost\":\"/\"}\n");
  CHECK(told(R"({"command":"trace","vhost":"no","state":"off"})") ==
        error("virtual host 'no' does not exist"));
  const std::string misuse = error(R"(trace needs a "vhost", and a "state" that is on or off)");
  CHECK(told(R"({"command":"trace","vhost":"/","state":"perhaps"})") == misuse);
  CHECK(told(R"({"command":"trace","state":"on"})") == misuse);
}

TEST_CASE("what the store objects to is told") {
  const TempFolder folder;
  CHECK(told(R"({"command":"backup","directory":")" + folder.path() + "-copy\"}", folder.path()) ==
        error("this store is kept in memory and cannot be copied"));
}

TEST_SUITE_END();

}  // namespace
}  // namespace harrier
