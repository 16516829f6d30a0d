#include "storage/lane_states.h"

#include <random>
#include <set>

#include <doctest/doctest.h>

namespace harrier {

namespace {

std::vector<SequenceRange> ranges_of(const SettledSet& set) {
  return {set.ranges().begin(), set.ranges().end()};
}

void add(SettledSet& set, std::vector<SequenceRange> fresh) {
  normalize(fresh);
  set.add(fresh);
}

LaneRun block(Epoch epoch, Sequence first, Sequence last) {
  return {.epoch = epoch,
          .first_seq = first,
          .last_seq = last,
          .entries = last - first + 1,
          .bytes = 100};
}

void settle(LaneStates& lanes, LaneState& lane, Sequence begin, Sequence end) {
  const std::vector<SequenceRange> fresh{{begin, end}};
  lanes.settle(lane, fresh);
}

}  // namespace

TEST_SUITE("settled set") {
  TEST_CASE("settling in order only moves the floor") {
    SettledSet set;
    add(set, {{1, 4}});
    add(set, {{4, 5}});
    CHECK(set.floor() == 5);
    CHECK(set.ranges().empty());
    CHECK(set.contains(4));
    CHECK_FALSE(set.contains(5));
  }

  TEST_CASE("the floor waits for the oldest and then takes all behind it along") {
    SettledSet set;
    add(set, {{2, 5}, {7, 9}});
    CHECK(set.floor() == 1);
    CHECK(ranges_of(set) == std::vector<SequenceRange>{{2, 5}, {7, 9}});
    add(set, {{5, 7}});
    CHECK(ranges_of(set) == std::vector<SequenceRange>{{2, 9}});
    CHECK(set.covers({3, 9}));
    CHECK_FALSE(set.covers({3, 10}));
    add(set, {{1, 2}});
    CHECK(set.floor() == 9);
    CHECK(set.ranges().empty());
  }

  TEST_CASE("it holds what a plain set would hold") {
    for (unsigned seed = 1; seed <= 50; ++seed) {
      CAPTURE(seed);
      std::mt19937 random(seed);
      SettledSet set;
      std::set<Sequence> model;
      for (int step = 0; step < 60; ++step) {
        std::vector<SequenceRange> fresh;
        for (int i = 0; i < 4; ++i) {
          const Sequence begin = random() % 200;
          const SequenceRange range{begin, begin + random() % 6};
          fresh.push_back(range);
          for (Sequence seq = range.begin; seq < range.end; ++seq)
            model.insert(seq);
        }
        add(set, fresh);
        for (Sequence seq = 1; seq < 210; ++seq) {
          REQUIRE(set.contains(seq) == model.contains(seq));
        }
        REQUIRE_FALSE(set.contains(set.floor()));
      }
    }
  }
}

TEST_SUITE("lane states") {
  TEST_CASE("an epoch is needed as long as a lane has unsettled entries there") {
    LaneStates lanes;
    LaneState& lane = *lanes.obtain(LaneId{4});
    lanes.add_block(lane, block(1, 1, 10));
    lanes.add_block(lane, block(1, 11, 20));
    lanes.add_block(lane, block(2, 21, 30));
    CHECK(lanes.needs(1, 1));
    settle(lanes, lane, 1, 20);
    CHECK(lanes.needs(1, 1));
    settle(lanes, lane, 20, 21);
    CHECK_FALSE(lanes.needs(1, 1));
    CHECK(lanes.needs(1, 2));
    CHECK(lanes.released_epochs() == 1);
    CHECK(lane.next_seq == 31);
    CHECK(lanes.check_invariants());
  }

  TEST_CASE("an old unsettled entry does not keep the epochs behind it") {
    LaneStates lanes;
    LaneState& lane = *lanes.obtain(LaneId{4});
    for (Epoch epoch = 1; epoch <= 5; ++epoch) {
      lanes.add_block(lane, block(epoch, epoch * 10, epoch * 10 + 9));
    }
    settle(lanes, lane, 11, 45);
    lanes.release_settled_runs(lane);
    CHECK(lanes.needs(1, 1));
    CHECK_FALSE(lanes.needs(2, 3));
    CHECK(lanes.needs(4, 4));
    CHECK(lanes.check_invariants());
  }

  TEST_CASE("a dropped lane needs nothing and does not come back") {
    LaneStates lanes;
    lanes.add_block(*lanes.obtain(LaneId{4}), block(1, 1, 10));
    lanes.drop(LaneId{4}, 2);
    CHECK_FALSE(lanes.needs(0, 9));
    CHECK(lanes.obtain(LaneId{4}) == nullptr);
    lanes.forget_dropped_before(2);
    CHECK(lanes.is_dropped(LaneId{4}));
    lanes.forget_dropped_before(3);
    CHECK_FALSE(lanes.is_dropped(LaneId{4}));
  }
}

}  // namespace harrier
