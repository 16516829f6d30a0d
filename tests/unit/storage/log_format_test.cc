#include "storage/log_format.h"

#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "log_files.h"

namespace harrier {

namespace {

using test::LogFile;

struct Reading {
  explicit Reading(ByteView file) {
    LogReader reader(file);
    std::uint64_t end = 0;
    while (const auto piece = reader.next()) {
      CHECK(piece->begin >= end);
      CHECK(piece->end > piece->begin);
      end = piece->end;
      if (piece->intact) {
        records.emplace_back(piece->record);
      } else {
        damaged_at.push_back(piece->begin);
      }
    }
  }

  std::vector<std::string> records;
  std::vector<std::uint64_t> damaged_at;
};

}  // namespace

TEST_SUITE("log format") {
  TEST_CASE("records of all sizes come back") {
    std::mt19937 random(1);
    LogFile file;
    std::vector<std::string> records;
    for (const std::size_t size : {0U, 1U, 32761U, 32754U, 32753U, 100'000U, 65536U, 7U}) {
      for (std::size_t around = 0; around < 8; ++around) {
        records.emplace_back(size + around + random() % 3, static_cast<char>('a' + around));
        file.add(records.back());
      }
    }
    const Reading read(file.octets());
    CHECK(read.records == records);
    CHECK(read.damaged_at.empty());
  }

  TEST_CASE("zeros behind the last record are its end") {
    for (const std::size_t zeros : {1U, 6U, 7U, 4096U, 70'000U}) {
      LogFile file;
      file.add("one");
      const Reading read(file.octets() + std::string(zeros, '\0'));
      CHECK(read.records.size() == 1);
      CHECK(read.damaged_at.empty());
    }
  }

  TEST_CASE("a record whose end is missing or zeroed is damage, and the last piece") {
    LogFile whole;
    whole.add("one");
    const std::uint64_t end_of_first = whole.size();
    whole.add(std::string(50'000, 'x'));
    for (const std::uint64_t left : {end_of_first + 1, end_of_first + 7, end_of_first + 100,
                                     std::uint64_t{kLogBlockBytes}, std::uint64_t{40'000}}) {
      CAPTURE(left);
      for (const bool zeroed : {false, true}) {
        LogFile file = whole;
        zeroed ? file.zero_from(left) : file.cut_at(left);
        const Reading read(file.octets());
        CHECK(read.records == std::vector<std::string>{"one"});
        CHECK(read.damaged_at == std::vector<std::uint64_t>{end_of_first});
      }
    }
  }

  TEST_CASE("behind damage it goes on with the next chunk, or else the next block") {
    LogFile file;
    file.add("one");
    const std::uint64_t second = file.size();
    file.add("two");
    file.add("three");
    file.add(std::string(100'000, 'x'));
    file.add("five");
    SUBCASE("a payload") {
      file.flip(second + kLogHeaderBytes + 1);
      const Reading read(file.octets());
      CHECK(read.records.size() == 4);
      CHECK(read.damaged_at == std::vector<std::uint64_t>{second});
    }
    SUBCASE("a length") {
      file.flip(second + 4, 3);
      const Reading read(file.octets());
      CHECK(read.records == std::vector<std::string>{"one", "five"});
      REQUIRE(read.damaged_at.size() == 4);  // and the chunks that lost their first one
      CHECK(read.damaged_at.front() == second);
    }
  }

  TEST_CASE("every single flipped bit of a chunk is damage, and known as one bit") {
    LogFile whole;
    whole.add("a record of some octets");
    whole.add("another");
    const std::uint64_t first_octets = kLogHeaderBytes + 23;
    for (std::uint64_t offset = 0; offset < first_octets; ++offset) {
      for (int bit = 0; bit < 8; ++bit) {
        CAPTURE(offset);
        CAPTURE(bit);
        LogFile file = whole;
        file.flip(offset, bit);
        const Reading read(file.octets());
        REQUIRE_FALSE(read.damaged_at.empty());
        CHECK(read.damaged_at.front() == 0);
        CHECK(is_one_bit_off(file.octets(), 0));
        file.flip(offset == 5 ? 9 : 5, 1);
        file.flip(8, 7);
        file.flip(12, 2);
        CHECK_FALSE(is_one_bit_off(file.octets(), 0));
      }
    }
  }

  TEST_CASE("an interrupted write is not one bit off") {
    LogFile whole;
    whole.add(test::logged_batch(1, 3, CommitMark{.run = 1, .commit = 1}, 200));
    for (std::uint64_t left = 0; left < whole.size(); ++left) {
      CAPTURE(left);
      LogFile file = whole;
      file.zero_from(left);
      CHECK_FALSE(is_one_bit_off(file.octets(), 0));
      file.cut_at(left);
      CHECK_FALSE(is_one_bit_off(file.octets(), 0));
    }
  }
}

}  // namespace harrier
