#include "storage/floor_filter.h"

#include <doctest/doctest.h>

namespace harrier {

TEST_SUITE("floor filter") {
  TEST_CASE("blocks wholly settled are skipped, all others stay") {
    LaneStates lanes;
    const std::vector<SequenceRange> settled{{1, 100}, {200, 300}, {400, 500}};
    lanes.settle(*lanes.obtain(LaneId{5}), settled);
    lanes.settle(*lanes.obtain(LaneId{6}), std::vector<SequenceRange>{{1, 10}});
    lanes.obtain(LaneId{7});
    lanes.drop(LaneId{7}, 1);
    const FloorTable table(lanes);

    struct Row {
      const char* name;
      std::uint32_t lane;
      Sequence first, last;
      Sequence skip_to;  // 0: keep
    };

    for (const Row& row : {
             Row{"below the floor", 5, 1, 99, 100},
             Row{"across the floor", 5, 90, 100, 0},
             Row{"at the floor", 5, 100, 110, 0},
             Row{"in a range", 5, 200, 299, 300},
             Row{"over the end of a range", 5, 250, 300, 0},
             Row{"over the begin of a range", 5, 199, 250, 0},
             Row{"between ranges", 5, 300, 399, 0},
             Row{"in the last range", 5, 410, 410, 500},
             Row{"above all", 5, 500, 600, 0},
             Row{"neighbour lane", 6, 200, 299, 0},
             Row{"neighbour lane below its floor", 6, 1, 9, 10},
             Row{"dropped lane", 7, 1, 9, UINT64_MAX},
             Row{"unknown lane", 8, 1, 9, 0},
             Row{"unknown low lane", 1, 1, 9, 0},
         }) {
      CAPTURE(row.name);
      const BlockKey key{3, LaneId{row.lane}, row.last};
      const FloorTable::Decision decision = table.decide(key, row.first);
      CHECK(decision.keep == (row.skip_to == 0));
      if (decision.keep) continue;
      CHECK(decision.skip_until == BlockKey{3, LaneId{row.lane}, row.skip_to});
      CHECK(key < decision.skip_until);
    }
  }
}

}  // namespace harrier
