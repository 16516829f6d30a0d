#pragma once

#include <cstdint>
#include <vector>

#include "storage/columns.h"
#include "storage/keys.h"
#include "storage/lane_states.h"
#include "storage/on_damage.h"
#include "storage/store.h"

namespace harrier {

// An epoch in which the lane has blocks, and the last sequence there.
struct PageEpoch {
  Epoch epoch = 0;
  Sequence last_seq = 0;

  friend bool operator==(const PageEpoch&, const PageEpoch&) = default;
};

// How to read one page: what only the committer thread knows about the lane, as of the moment the
// page is to show.
struct PagePlan {
  PageRequest request;
  Sequence delivered = 0;              // entries below may have been delivered
  std::vector<PageEpoch> epochs;       // with blocks of the request, ascending
  std::vector<SequenceRange> settled;  // within the request; ascending, disjoint
};

// Null for a lane that does not exist or is dropped: its pages are empty.
PagePlan plan_page(const LaneState* lane, const PageRequest& request);

// Reads the blocks that `plan` names. One seek for each of its epochs, none to any other; blocks
// that were deleted since the plan was made held nothing unsettled. Transient
// entries of runs before `first_run` are left out. Damage to unsettled entries ends the page, or is
// passed over if it is accepted: then a line of the log per page says what is lost. Thread safe.
LanePage read_page(const Columns& columns, std::uint64_t first_run, const PagePlan& plan,
                   OnDamage on_damage = OnDamage::refuse);

}  // namespace harrier
