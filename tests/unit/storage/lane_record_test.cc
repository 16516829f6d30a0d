#include "storage/lane_record.h"

#include <string>

#include <doctest/doctest.h>

namespace harrier {

namespace {

constexpr AckKey kKey{3, 44};

std::vector<LaneChange> changes_in(ByteView record, AckKey key = kKey) {
  std::vector<LaneChange> changes;
  CHECK(read_ack_record(key, record, [&](const LaneChange& c) { changes.push_back(c); }));
  return changes;
}

LaneState sample_lane() {
  LaneState lane;
  lane.id = LaneId{70'000};
  lane.next_seq = 1000;
  lane.next_put = 990;
  lane.delivered = 500;
  lane.tally = {450, 123'456};
  const std::vector<SequenceRange> settled{{1, 100}, {200, 300}, {400, 401}};
  lane.settled.add(settled);
  lane.runs = {{2, 90, 250, 100, 10'000}, {3, 251, 600, 350, 1ULL << 40, {300, 401}}};
  return lane;
}

}  // namespace

TEST_SUITE("lane record") {
  TEST_CASE("an ack record gives its changes back in order") {
    AckRecordBuilder builder;
    CHECK(builder.empty());
    const std::vector<SequenceRange> settled{{5, 9}, {12, 1ULL << 50}};
    builder.changed(LaneId{1}, settled, std::nullopt, {3, 1ULL << 40});
    builder.changed(LaneId{UINT32_MAX}, {}, Sequence{77}, {});
    builder.dropped(LaneId{1});
    const auto changes = changes_in(builder.finish(kKey));
    REQUIRE(changes.size() == 3);
    CHECK(changes[0].lane == LaneId{1});
    CHECK(changes[0].settled == settled);
    CHECK(changes[0].tally == Tally{3, 1ULL << 40});
    CHECK_FALSE(changes[0].delivered);
    CHECK(changes[1].lane == LaneId{UINT32_MAX});
    CHECK(changes[1].delivered == Sequence{77});
    CHECK(changes[1].tally == Tally{});
    CHECK(changes[2].dropped);
  }

  TEST_CASE("a finished record is not written twice") {
    AckRecordBuilder builder;
    builder.dropped(LaneId{1});
    builder.finish(kKey);
    CHECK(builder.empty());
    builder.dropped(LaneId{2});
    const auto changes = changes_in(builder.finish(kKey));
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].lane == LaneId{2});
  }

  TEST_CASE("every flipped bit of an ack record is noticed") {
    AckRecordBuilder builder;
    const std::vector<SequenceRange> settled{{5, 9}};
    builder.changed(LaneId{1}, settled, Sequence{3}, {2, 20});
    const std::string octets(builder.finish(kKey));
    for (std::size_t bit = 0; bit < octets.size() * 8; ++bit) {
      std::string bad = octets;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
      CHECK_FALSE(read_ack_record(kKey, bad, [](const LaneChange&) {}));
    }
    CHECK_FALSE(read_ack_record({3, 45}, octets, [](const LaneChange&) {}));
  }

  TEST_CASE("a lane snapshot comes back as it was") {
    const LaneState lane = sample_lane();
    Buffer octets;
    write_lane_snapshot(lane, octets);
    const auto read = read_lane_snapshot(lane.id, octets.view());
    REQUIRE(read.has_value());
    CHECK(read->id == lane.id);
    CHECK(read->next_seq == lane.next_seq);
    CHECK(read->next_put == lane.next_put);
    CHECK(read->delivered == lane.delivered);
    CHECK(read->tally == lane.tally);
    CHECK(read->runs == lane.runs);
    CHECK(read->settled.floor() == 100);
    CHECK(read->settled.contains(250));
    CHECK_FALSE(read->settled.contains(300));
    CHECK(read->settled.end() == 401);
  }

  TEST_CASE("a damaged snapshot, or that of another lane, is refused") {
    const LaneState lane = sample_lane();
    Buffer octets;
    write_lane_snapshot(lane, octets);
    CHECK_FALSE(read_lane_snapshot(LaneId{1}, octets.view()));
    std::string bad(octets.view());
    bad[5] = static_cast<char>(bad[5] ^ 4);
    CHECK_FALSE(read_lane_snapshot(lane.id, bad));
    CHECK_FALSE(read_lane_snapshot(lane.id, ""));
  }
}

}  // namespace harrier
