#include "broker/admin/copy_directory.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stop_token>
#include <string>

#include <doctest/doctest.h>

#include "tests/unit/admin/temp_folder.h"

namespace harrier {
namespace {

namespace fs = std::filesystem;

void write(const std::string& path, const std::string& octets) {
  std::ofstream(path, std::ios::binary) << octets;
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A folder with files of several sizes, and where its copy goes.
struct Fixture {
  Fixture() {
    fs::create_directories(from + "/db");
    write(from + "/store.format", "text\n");
    write(from + "/db/empty", "");
    write(from + "/db/large", std::string(3'000'000, 'x') + '\0' + "end");
  }

  TempFolder folder;
  std::string from = folder.path() + "/from";
  std::string to = folder.path() + "/a/b/";
  std::stop_source stop;
};

TEST_SUITE_BEGIN("copy directory");

TEST_CASE("a copy has every file, octet by octet, and nothing else") {
  const Fixture with;
  REQUIRE(copy_directory(with.from, with.to, with.stop.get_token()).has_value());
  for (const char* name : {"store.format", "db/empty", "db/large"})
    CHECK(read(with.to + name) == read(with.from + "/" + name));
  const auto all = fs::recursive_directory_iterator(with.to);
  CHECK(std::distance(fs::begin(all), fs::end(all)) == 4);
}

TEST_CASE("a place that is not empty is refused and left as it is") {
  const Fixture with;
  fs::create_directories(with.to);
  write(with.to + "mine", "mine");
  const auto copied = copy_directory(with.from, with.to, with.stop.get_token());
  REQUIRE(!copied.has_value());
  CHECK(copied.error() == "cannot copy to " + with.to + ": it is not empty; name another");
  CHECK(read(with.to + "mine") == "mine");
}

TEST_CASE("a copy that is given up or cannot be finished leaves nothing") {
  Fixture with;
  SUBCASE("given up") {
    with.stop.request_stop();
  }
  SUBCASE("a file that cannot be read") {
    fs::create_symlink("/proc/self/mem", with.from + "/db/unreadable");
  }
  SUBCASE("a file that is gone") {
    fs::create_symlink("nowhere", with.from + "/db/gone");
  }
  const auto copied = copy_directory(with.from, with.to, with.stop.get_token());
  REQUIRE(!copied.has_value());
  CHECK(copied.error().find('\n') == std::string::npos);
  CHECK(fs::is_empty(with.to));
}

TEST_CASE("a place that cannot be made is told") {
  const Fixture with;
  const auto copied = copy_directory(with.from, "/proc/copy", with.stop.get_token());
  REQUIRE(!copied.has_value());
  CHECK(copied.error().starts_with("cannot copy to /proc/copy: "));
}

TEST_SUITE_END();

}  // namespace
}  // namespace harrier
