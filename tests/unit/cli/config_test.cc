#include <sstream>
#include <string>
#include <variant>

#include <doctest/doctest.h>

#include "broker/config/command_line.h"
#include "broker/config/config_file.h"
#include "broker/config/config_keys.h"
#include "tests/unit/cli/cli_fixture.h"

namespace harrier {
namespace {

TEST_SUITE_BEGIN("config");

// harrierd --check-config on the same file.
Ran run_harrierd_check(const char* file) {
  const char* const argv[] = {"harrierd", "--config", file, "--check-config"};
  std::ostringstream out;
  std::ostringstream err;
  const auto prepared = prepare_start(4, argv, out, err);
  REQUIRE(std::holds_alternative<int>(prepared));
  return {std::get<int>(prepared), out.str(), err.str()};
}

TEST_CASE("config check says what harrierd --check-config says") {
  struct Row {
    const char* text;
    int exit_code;
  };

  for (const Row& row :
       {Row{"heartbeat = 30\n", 0}, Row{"vm_memory_high_watermark.relative = 0.4\n", 0},
        Row{"heartbeet = 30\nchannel_max = many\n", kExitBadConfig}}) {
    CAPTURE(row.text);
    const TempFile file(row.text);
    const Ran ours = run_harrier({"config", "check", file.path()});
    const Ran theirs = run_harrierd_check(file.path());
    CHECK(ours.exit_code == row.exit_code);
    CHECK(ours.exit_code == theirs.exit_code);
    CHECK(ours.out == theirs.out);
    CHECK(ours.err == theirs.err);
  }
}

TEST_CASE("config check of a file that is not there ends with 66") {
  const Ran ran = run_harrier({"config", "check", "/nowhere/harrier.conf"});
  CHECK(ran.exit_code == kExitNoConfig);
  CHECK(contains(ran.err, "/nowhere/harrier.conf"));
}

TEST_CASE("config explain tells type, values, default and meaning of a key") {
  const Ran ran = run_harrier({"config", "explain", "heartbeat"});
  CHECK(ran.exit_code == 0);
  CHECK(ran.out ==
        "heartbeat\n"
        "  Heartbeat interval proposed to clients, who have the last word. 0 proposes none.\n"
        "  Type:    number\n"
        "  Values:  seconds, 0..65535\n"
        "  Default: 60\n");
}

TEST_CASE("config explain knows every key of the table") {
  for (const ConfigKey& key : config_keys()) {
    CAPTURE(std::string(key.name));
    const Ran ran = run_harrier({"config", "explain", std::string(key.name).c_str()});
    CHECK(ran.exit_code == 0);
    CHECK(contains(ran.out, std::string(key.help)));
    CHECK(contains(ran.out, describe_values(key)));
  }
}

TEST_CASE("config explain takes an item of a list for the list") {
  const Ran star = run_harrier({"config", "explain", "listeners.tcp.*"});
  CHECK(contains(star.out, "Default: listeners.tcp.default = 127.0.0.1:5672\n"));
  CHECK(run_harrier({"config", "explain", "listeners.tcp.second"}).out == star.out);
}

TEST_CASE("config explain names the nearest key to an unknown one") {
  const Ran near = run_harrier({"config", "explain", "heartbeet"});
  CHECK(near.exit_code == kExitBadConfig);
  CHECK(near.err == "unknown key 'heartbeet'; did you mean 'heartbeat'?\n");
  const Ran list = run_harrier({"config", "explain", "listener.tcp.default"});
  CHECK(list.err == "unknown key 'listener.tcp.default'; did you mean 'listeners.tcp.default'?\n");
  const Ran far = run_harrier({"config", "explain", "quite.another.thing"});
  CHECK(far.exit_code == kExitBadConfig);
  CHECK(contains(far.err, "harrier config keys"));
}

TEST_CASE("config explain says which keys only RabbitMQ acts on") {
  const Ran ran = run_harrier({"config", "explain", "disk_monitor_failure_retries"});
  CHECK(ran.exit_code == 0);
  CHECK(contains(ran.out, "without effect here"));
}

TEST_CASE("config keys lists what harrierd --config-keys lists") {
  std::ostringstream expected;
  print_config_keys(expected);
  const Ran ran = run_harrier({"config", "keys"});
  CHECK(ran.exit_code == 0);
  CHECK(ran.out == expected.str());
}

TEST_SUITE_END();

}  // namespace
}  // namespace harrier
