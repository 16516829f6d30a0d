#include "storage/data_dir.h"

#include <unistd.h>

#include <fstream>

#include <doctest/doctest.h>
#include <fmt/core.h>

#include "storage/schema.h"
#include "store_support.h"

namespace harrier {

using test::TempDir;

TEST_SUITE("data dir") {
  TEST_CASE("a second broker is refused with the pid of the first") {
    const TempDir temp;
    const std::string path = temp.path() + "/deep/data";
    auto first = DataDir::open(path);
    REQUIRE(first.has_value());
    const auto second = DataDir::open(path);
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().kind == StoreError::Kind::locked);
    CHECK(
        second.error().detail ==
        fmt::format("data directory {} is in use by another harrierd (pid {})", path, ::getpid()));
  }

  TEST_CASE("the directory is free again when its holder is gone") {
    const TempDir temp;
    { REQUIRE(DataDir::open(temp.path()).has_value()); }
    CHECK(DataDir::open(temp.path()).has_value());
  }

  TEST_CASE("readers share a directory, and keep brokers out or are kept out") {
    const TempDir temp;
    {
      const auto broker = DataDir::open(temp.path());
      REQUIRE(broker.has_value());
      const auto reader = DataDir::open_to_read(temp.path());
      REQUIRE_FALSE(reader.has_value());
      CHECK(reader.error().kind == StoreError::Kind::locked);
      CHECK(reader.error().detail.ends_with(fmt::format("(pid {})", ::getpid())));
    }
    const auto reader = DataDir::open_to_read(temp.path());
    CHECK(reader.has_value());
    CHECK(DataDir::open_to_read(temp.path()).has_value());
    const auto broker = DataDir::open(temp.path());
    REQUIRE_FALSE(broker.has_value());
    CHECK(broker.error().detail ==
          "data directory " + temp.path() + " is being read by harrierd --check-data");
  }

  TEST_CASE("a directory that cannot be used is named with the reason") {
    const TempDir temp;
    const std::string file = temp.path() + "/file";
    std::ofstream(file) << "x";
    const auto opened = DataDir::open(file + "/data");
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().kind == StoreError::Kind::unusable);
    CHECK(opened.error().detail ==
          "data directory " + file + "/data cannot be made: Not a directory");

    const auto unwritable = DataDir::open("/proc/self");
    REQUIRE_FALSE(unwritable.has_value());
    CHECK(unwritable.error().kind == StoreError::Kind::unusable);
    CHECK(unwritable.error().detail.starts_with(
        "data directory /proc/self cannot be written by this user: "));
  }
}

TEST_SUITE("schema") {
  TEST_CASE("the format file tells what was written to it") {
    const TempDir temp;
    const auto directory = DataDir::open(temp.path());
    REQUIRE(directory.has_value());
    const auto none = read_store_format(*directory);
    REQUIRE(none.has_value());
    CHECK_FALSE(none->has_value());
    REQUIRE(write_store_format(*directory, kCurrentFormat).has_value());
    const auto found = read_store_format(*directory);
    REQUIRE(found.has_value());
    CHECK(*found == kCurrentFormat);
  }

  TEST_CASE("text that is no format is none") {
    for (const char* text :
         {"", "harrier store\n", "harrier store\nformat\nmin_reader 1\n",
          "harrier store\nformat x\nmin_reader 1\n", "harrier store\nformat 1\nmin_reader 1",
          "other store\nformat 1\nmin_reader 1\n"}) {
      CAPTURE(text);
      CHECK_FALSE(parse_store_format(text));
    }
    CHECK(parse_store_format("harrier store\nformat 3\nmin_reader 2\nmore 4\n") ==
          StoreFormat{.format = 3, .min_reader = 2});
  }

  TEST_CASE("a newer layout is refused unless it says we can read it") {
    const TempDir temp;
    const auto directory = DataDir::open(temp.path());
    REQUIRE(write_store_format(*directory, {.format = 9, .min_reader = 1}).has_value());
    CHECK(read_store_format(*directory).has_value());
    REQUIRE(write_store_format(*directory, {.format = 9, .min_reader = 9}).has_value());
    const auto refused = read_store_format(*directory);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == StoreError::Kind::newer_format);
    CHECK(refused.error().detail == fmt::format("data directory {} has store format 9, this "
                                                "harrierd reads up to 1: start a newer harrierd",
                                                temp.path()));
  }

  TEST_CASE("a database without a format file is not touched") {
    const TempDir temp;
    const auto directory = DataDir::open(temp.path());
    std::filesystem::create_directory(temp.path() + "/db");
    const auto refused = read_store_format(*directory);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().kind == StoreError::Kind::corruption);
  }

  TEST_CASE("migrations run in order from the format found, and go on after a failure") {
    const TempDir temp;
    const auto directory = DataDir::open(temp.path());
    REQUIRE(write_store_format(*directory, {.format = 2, .min_reader = 2}).has_value());
    std::string ran;
    bool broken = true;
    const auto step = [&](char name, bool fails) {
      return [&ran, name, fails, &broken](const Columns&) -> Result<void, StoreError> {
        if (fails && broken) return fail(StoreError{StoreError::Kind::io, "no luck"});
        ran += name;
        return {};
      };
    };
    const std::vector<Migration> steps{{1, "first", step('a', false)},
                                       {2, "second", step('b', false)},
                                       {3, "third", step('c', true)}};
    CHECK_FALSE(migrate(*directory, {2, 2}, Columns(), steps).has_value());
    CHECK(ran == "b");
    std::ifstream file(temp.path() + "/store.format");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    CHECK(parse_store_format(text) == StoreFormat{.format = 3, .min_reader = 3});
    broken = false;
    CHECK(migrate(*directory, {3, 3}, Columns(), steps).has_value());
    CHECK(ran == "bc");
  }
}

}  // namespace harrier
