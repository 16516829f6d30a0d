#include <set>
#include <string>

#include <doctest/doctest.h>

#include "broker/config/config_file.h"
#include "broker/config/version.h"
#include "tests/unit/cli/cli_fixture.h"

namespace harrier {
namespace {

TEST_SUITE_BEGIN("commands");

TEST_CASE("--version prints the version of this build") {
  const Ran ran = run_harrier({"--version"});
  CHECK(ran.exit_code == 0);
  CHECK(ran.out == "harrier " + std::string(version()) + "\n");
  CHECK(ran.err.empty());
}

TEST_CASE("--help lists the groups and shows the help of each command") {
  CHECK(contains(run_harrier({"--help"}).out, "config"));
  const Ran group = run_harrier({"config", "--help"});
  CHECK(group.exit_code == 0);
  const Ran command = run_harrier({"config", "explain", "--help"});
  CHECK(command.exit_code == 0);
  CHECK(contains(command.out, "KEY"));
}

TEST_CASE("every command of the table is named once and explained") {
  std::set<std::string_view> names;
  for (const Command& command : commands()) {
    CAPTURE(std::string(command.name));
    CHECK(names.insert(command.name).second);
    CHECK(!command.help.empty());
  }
}

TEST_CASE("a bad command line ends with 64 and says so on standard error") {
  for (const Ran& ran :
       {run_harrier({"confg"}), run_harrier({"config", "chek"}), run_harrier({"config", "check"}),
        run_harrier({"--nonsense"}), run_harrier({"config", "keys", "surplus"})}) {
    CAPTURE(ran.err);
    CHECK(ran.exit_code == kExitUsage);
    CHECK(ran.out.empty());
    CHECK(ran.err.starts_with("harrier: "));
  }
}

TEST_CASE("without a command the help comes, with 64") {
  const Ran top = run_harrier({});
  CHECK(top.exit_code == kExitUsage);
  CHECK(contains(top.err, "config"));
  const Ran group = run_harrier({"config"});
  CHECK(group.exit_code == kExitUsage);
  CHECK(contains(group.err, "explain"));
}

TEST_SUITE_END();

}  // namespace
}  // namespace harrier
