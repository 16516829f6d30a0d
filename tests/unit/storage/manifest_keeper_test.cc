#include "storage/manifest_keeper.h"

#include <string>

#include <doctest/doctest.h>
#include <rocksdb/file_system.h>

#include "storage/disk.h"
#include "store_support.h"

namespace harrier {

namespace {

using test::TempDir;

struct Files {
  Files() {
    REQUIRE(disk.replace(path("MANIFEST-000005"), "old").has_value());
    REQUIRE(disk.replace(path("MANIFEST-000009"), "").has_value());
    REQUIRE(disk.replace(path("CURRENT"), "MANIFEST-000005\n").has_value());
  }

  std::string path(const std::string& name) const { return temp.path() + "/" + name; }

  // Whether `name` is there after it was to be removed.
  bool stays(const std::string& name) {
    const auto removed = keep_current_manifest(nullptr)->DeleteFile(path(name), {}, nullptr);
    REQUIRE_MESSAGE(removed.ok(), removed.ToString());
    return disk.exists(path(name));
  }

  TempDir temp;
  Disk disk;
};

}  // namespace

TEST_SUITE("manifest keeper") {
  TEST_CASE("the manifest in force stays, any other file goes") {
    Files files;
    CHECK(files.stays("MANIFEST-000005"));
    CHECK_FALSE(files.stays("MANIFEST-000009"));
    CHECK_FALSE(files.stays("CURRENT"));
  }

  TEST_CASE("it goes once CURRENT names another one, or nobody does") {
    Files files;
    REQUIRE(files.disk.replace(files.path("CURRENT"), "MANIFEST-000009\n").has_value());
    CHECK_FALSE(files.stays("MANIFEST-000005"));
    CHECK(files.stays("MANIFEST-000009"));
    CHECK_FALSE(files.stays("CURRENT"));
    CHECK_FALSE(files.stays("MANIFEST-000009"));
  }
}

}  // namespace harrier
