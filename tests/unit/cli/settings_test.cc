#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "broker/config/config_file.h"
#include "tests/unit/cli/cli_fixture.h"

namespace harrier {
namespace {

TEST_SUITE_BEGIN("settings");

TEST_CASE("without a broker every command says so and ends with 69") {
  const std::string folder = std::filesystem::temp_directory_path();
  for (std::vector<const char*> words : {
           std::vector<const char*>{"policy", "set", "p", "^q", "{\"max-length\":1}"},
           {"policy", "clear", "p"},
           {"policy", "list"},
           {"operator-policy", "set", "p", "^q", "{\"max-length\":1}", "--priority=-1"},
           {"operator-policy", "clear", "p"},
           {"operator-policy", "list", "--vhost", "/"},
           {"limit", "set", "max-queues", "5"},
           {"limit", "set", "max-channels", "-1", "--user", "u"},
           {"limit", "clear", "max-queues"},
           {"limit", "list"},
           {"parameter", "set", "g", "1"},
           {"parameter", "clear", "s", "--component", "shovel"},
           {"parameter", "list"},
           {"redrive", "dead"},
           {"redrive", "dead", "--to", "queue:q", "--rate", "5", "--filter", "reason=expired"},
           {"redrive", "--status"},
           {"redrive", "--cancel", "1"},
           {"vhost", "add", "v"},
           {"delayed", "q", "--release", "--cancel", "key"},
           {"vhost", "set-queue-type", "quorum"},
       }) {
    CAPTURE(std::string(words[0]) + " " + words[1]);
    words.insert(words.end(), {"--data-dir", folder.c_str()});
    const Ran ran = run_harrier(words);
    CHECK(ran.exit_code == kExitNoBroker);
    CHECK(ran.out.empty());
    CHECK(ran.err.starts_with("harrier: no broker runs on the data directory " + folder + " ("));
  }
}

TEST_CASE("what is missing or too much is a bad command line") {
  CHECK(run_harrier({"policy", "set", "p", "^q"}).exit_code == kExitUsage);
  CHECK(run_harrier({"redrive"}).exit_code == kExitUsage);
  CHECK(run_harrier({"redrive", "dead", "--status"}).exit_code == kExitUsage);
  CHECK(run_harrier({"limit", "set", "max-queues", "5", "--user", "u", "--vhost", "v"}).exit_code ==
        kExitUsage);
}

TEST_CASE("what is no UTF-8 is refused") {
  const Ran ran = run_harrier({"policy", "clear", "\xff"});
  CHECK(ran.exit_code == kExitUsage);
  CHECK(ran.err == "harrier: what is told to the broker has to be UTF-8\n");
}

TEST_SUITE_END();

}  // namespace
}  // namespace harrier
