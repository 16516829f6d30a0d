#include "broker/core/message_records.h"

#include <string>

#include <doctest/doctest.h>

using namespace harrier;

TEST_SUITE("message records") {
  TEST_CASE("a delay comes back") {
    DelayRecord written;
    written.lane = LaneId{0x01020304};
    written.seq = 0x05060708090A0B0C;
    written.due = Timestamp(Milliseconds(253'402'300'799'999));
    written.count = UINT32_MAX;
    written.body_bytes = 7;
    for (const char* key : {"", "order 1"}) {
      written.cancel_key = key;
      const auto read =
          decode_delay_record(delay_record_key(written.lane, written.seq), delay_record(written));
      REQUIRE(read);
      CHECK(read->lane == written.lane);
      CHECK(read->seq == written.seq);
      CHECK(read->due == written.due);
      CHECK(read->count == written.count);
      CHECK(read->body_bytes == written.body_bytes);
      CHECK(read->cancel_key == written.cancel_key);
    }
  }

  TEST_CASE("what is cut off is no record") {
    const std::string key = delay_record_key(LaneId{1}, 2);
    const std::string value = delay_record({});
    for (std::size_t size = 0; size < key.size(); ++size)
      CHECK_FALSE(decode_delay_record(std::string_view(key).substr(0, size), value));
    for (std::size_t size = 0; size < value.size(); ++size)
      CHECK_FALSE(decode_delay_record(key, std::string_view(value).substr(0, size)));
    CHECK_FALSE(decode_delay_record(key + '\0', value));
    CHECK(decode_count_record(count_record_key(LaneId{1}, 2), count_record(3))->count == 3);
    CHECK_FALSE(decode_count_record(key + '\0', value));
  }
}
