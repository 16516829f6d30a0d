#include "storage/lane_states.h"

#include <algorithm>
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

// Whether some lane has unsettled entries in an epoch from `first` to `last`.
bool needs(const LaneStates& lanes, Epoch first, Epoch last) {
  const auto needed = lanes.needed_epochs();
  return std::any_of(needed.begin(), needed.end(),
                     [&](const EpochUse& use) { return first <= use.epoch && use.epoch <= last; });
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
        const SequenceRange part{1 + random() % 100, 100 + random() % 120};
        const auto begin = model.lower_bound(part.begin);
        const auto settled = std::distance(begin, model.lower_bound(part.end));
        REQUIRE(set.count(part) == static_cast<std::uint64_t>(settled));
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
    CHECK(needs(lanes, 1, 1));
    settle(lanes, lane, 1, 20);
    CHECK(needs(lanes, 1, 1));
    settle(lanes, lane, 20, 21);
    CHECK_FALSE(needs(lanes, 1, 1));
    CHECK(needs(lanes, 1, 2));
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
    CHECK(needs(lanes, 1, 1));
    CHECK_FALSE(needs(lanes, 2, 3));
    CHECK(needs(lanes, 4, 4));
    CHECK(lanes.check_invariants());
  }

  TEST_CASE("the bodies of an epoch are needed by those entries alone that have theirs there") {
    using Epochs = std::vector<Epoch>;
    LaneStates lanes;
    LaneState& parked = *lanes.obtain(LaneId{4});
    LaneState& lane = *lanes.obtain(LaneId{5});
    for (Epoch epoch = 1; epoch <= 3; ++epoch) {
      lanes.add_block(parked, block(epoch, epoch, epoch));
      LaneRun run = block(epoch, epoch * 10, epoch * 10 + 4);
      lanes.add_block(lane, run);
      run = block(epoch, epoch * 10 + 5, epoch * 10 + 9);
      run.bodies = {epoch * 10 + 6, epoch * 10 + 8};
      lanes.add_block(lane, run);
    }
    CHECK(lane.runs[0].bodies == SequenceRange{16, 18});
    CHECK(lanes.body_epochs() == Epochs{1, 2, 3});
    settle(lanes, lane, 1, 17);
    CHECK(lanes.body_epochs() == Epochs{1, 2, 3});
    settle(lanes, lane, 17, 18);
    CHECK(lanes.body_epochs() == Epochs{2, 3});
    CHECK(lane.runs.size() == 3);
    settle(lanes, lane, 36, 38);
    CHECK(lanes.body_epochs() == Epochs{2, 3});  // until somebody looks
    lanes.release_settled_runs(lane);
    CHECK(lanes.body_epochs() == Epochs{2});
    lanes.add_body(parked, 3, std::vector<BodyRun>{{1, 1}, {3, 1}}, 3);
    CHECK(lanes.body_epochs() == Epochs{1, 2});
    CHECK(lanes.check_invariants());
    lanes.drop(LaneId{5}, 4);
    CHECK(lanes.body_epochs() == Epochs{1});
    CHECK(needs(lanes, 2, 2));
    lanes.drop(LaneId{4}, 4);
    CHECK(lanes.body_epochs().empty());
    CHECK(lanes.check_invariants());
  }

  TEST_CASE("the octets an epoch is needed for are those of its unsettled entries") {
    LaneStates lanes;
    LaneState& lane = *lanes.obtain(LaneId{4});
    lanes.add_block(lane, block(1, 1, 10));
    lanes.add_block(lane, block(2, 11, 20));
    lanes.add_block(*lanes.obtain(LaneId{5}), block(2, 1, 1));
    settle(lanes, lane, 3, 6);
    settle(lanes, lane, 19, 21);
    const auto needed = lanes.count_needed_epochs();
    REQUIRE(needed.size() == 2);
    CHECK(needed[0].epoch == 1);
    CHECK(needed[0].live_bytes == 70);
    CHECK(needed[1].epoch == 2);
    CHECK(needed[1].live_bytes == 180);
  }

  TEST_CASE("a dropped lane needs nothing and does not come back") {
    LaneStates lanes;
    lanes.add_block(*lanes.obtain(LaneId{4}), block(1, 1, 10));
    lanes.drop(LaneId{4}, 2);
    CHECK_FALSE(needs(lanes, 0, 9));
    CHECK(lanes.obtain(LaneId{4}) == nullptr);
    lanes.forget_dropped_before(2);
    CHECK(lanes.is_dropped(LaneId{4}));
    lanes.forget_dropped_before(3);
    CHECK_FALSE(lanes.is_dropped(LaneId{4}));
  }
}

}  // namespace harrier
