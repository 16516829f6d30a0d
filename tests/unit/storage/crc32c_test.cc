#include "storage/crc32c.h"

#include <string>

#include <doctest/doctest.h>

namespace harrier {

TEST_SUITE("crc32c") {
  TEST_CASE("known vectors come out, by the processor and by table") {
    CHECK(crc32c("123456789") == 0xE3069283);
    CHECK(crc32c_by_table("123456789") == 0xE3069283);
    CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AA);
    CHECK(crc32c("") == 0);
  }

  TEST_CASE("both ways agree at every length and alignment") {
    std::string octets(300, '\0');
    for (std::size_t i = 0; i < octets.size(); ++i)
      octets[i] = static_cast<char>(i * 37 + 11);
    for (std::size_t start = 0; start < 9; ++start) {
      for (std::size_t size = 0; start + size <= octets.size(); ++size) {
        const ByteView part = ByteView(octets).substr(start, size);
        REQUIRE(crc32c(part, 5) == crc32c_by_table(part, 5));
      }
    }
  }

  TEST_CASE("both ways agree on long octets") {
    std::string octets(20'000, '\0');
    for (std::size_t i = 0; i < octets.size(); ++i)
      octets[i] = static_cast<char>(i * i / 7);
    for (const std::size_t size : {3071U, 3072U, 3073U, 6143U, 6144U, 9999U, 20'000U}) {
      const ByteView part = ByteView(octets).substr(0, size);
      CHECK(crc32c(part, 5) == crc32c_by_table(part, 5));
    }
  }

  TEST_CASE("a checksum goes on where another ended") {
    CHECK(crc32c("56789", crc32c("1234")) == crc32c("123456789"));
  }
}

}  // namespace harrier
