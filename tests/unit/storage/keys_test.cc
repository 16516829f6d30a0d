#include "storage/keys.h"

#include <vector>

#include <doctest/doctest.h>

namespace harrier {

TEST_SUITE("keys") {
  TEST_CASE("block keys sort by epoch, lane and last sequence") {
    const std::vector<BlockKey> ascending{{0, LaneId{0}, 0},
                                          {0, LaneId{0}, 1},
                                          {0, LaneId{0}, 256},
                                          {0, LaneId{1}, 0},
                                          {0, LaneId{255}, UINT64_MAX},
                                          {0, LaneId{256}, 0},
                                          {1, LaneId{0}, 0},
                                          {1, LaneId{0}, 1ULL << 40},
                                          {256, LaneId{7}, 7},
                                          {UINT32_MAX, LaneId{0}, 0}};
    for (std::size_t i = 1; i < ascending.size(); ++i) {
      CAPTURE(i);
      const auto before = encode(ascending[i - 1]);
      const auto after = encode(ascending[i]);
      CHECK(before.view() < after.view());
      CHECK(after.view().starts_with(encode_epoch(ascending[i].epoch).view()));
    }
  }

  TEST_CASE("keys come back as they were") {
    const BlockKey block{70'000, LaneId{80'000}, 1ULL << 50};
    CHECK(decode_block_key(encode(block).view()) == block);
    const AckKey ack{70'000, 1ULL << 50};
    CHECK(decode_ack_key(encode(ack).view()) == ack);
    CHECK(decode_lane_key(encode(LaneId{80'000}).view()) == LaneId{80'000});
    CHECK(decode_leading_epoch(encode(block).view()) == Epoch{70'000});
    CHECK(decode_note(encode_note(1ULL << 50)) == 1ULL << 50);
  }

  TEST_CASE("octets of another size are no key") {
    CHECK_FALSE(decode_block_key("fifteen octets!"));
    CHECK_FALSE(decode_ack_key("sixteen octets!!"));
    CHECK_FALSE(decode_lane_key(""));
    CHECK_FALSE(decode_leading_epoch("abc"));
    CHECK_FALSE(decode_note("abc"));
  }

  TEST_CASE("definitions and notes of the store never share a key") {
    CHECK(definition_key("q") == "dq");
    for (const std::string_view note : {kCheckpointKey, kRunKey, kCleanStopKey}) {
      CHECK_FALSE(note.starts_with(kDefinitionPrefix));
    }
  }
}

}  // namespace harrier
