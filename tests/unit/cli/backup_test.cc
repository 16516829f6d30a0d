#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "tests/unit/cli/cli_fixture.h"

namespace harrier {
namespace {

TEST_SUITE_BEGIN("backup");

TEST_CASE("without a broker on the data directory it says so and ends with 69") {
  const std::string folder = std::filesystem::temp_directory_path();
  for (const std::string& data_dir :
       {folder, folder + "/nothing-is-here", std::string("/dev/null")}) {
    CAPTURE(data_dir);
    const Ran ran = run_harrier({"backup", "copy", "--data-dir", data_dir.c_str()});
    CHECK(ran.exit_code == kExitNoBroker);
    CHECK(ran.out.empty());
    CHECK(ran.err.starts_with("harrier: no broker runs on the data directory " + data_dir + " ("));
    CHECK(contains(ran.err, "--data-dir"));
    CHECK(ran.err.find('\n') == ran.err.size() - 1);
  }
}

TEST_CASE("a directory whose name is not UTF-8 is refused") {
  const Ran ran = run_harrier({"backup", "\xff"});
  CHECK(ran.exit_code != 0);
  CHECK(ran.err == "harrier: what is told to the broker has to be UTF-8\n");
}

TEST_CASE("backup --help tells how to restore") {
  const Ran ran = run_harrier({"backup", "--help"});
  CHECK(ran.exit_code == 0);
  CHECK(contains(ran.out, "harrierd --data-dir DIRECTORY"));
}

TEST_SUITE_END();

}  // namespace
}  // namespace harrier
