#pragma once

#include <string_view>

#include "base/result.h"
#include "storage/columns.h"
#include "storage/lane_states.h"
#include "storage/store.h"

namespace harrier {

// Visits the definitions whose key starts with `prefix`, in key order.
Result<void, StoreError> scan_definitions(const Columns& columns, std::string_view prefix,
                                          const Store::RecordVisitor& visit);

// Visits the unsettled persistent entries of all lanes in `lanes`, in the order of the disk.
Result<void, StoreError> scan_blocks(const Columns& columns, const LaneStates& lanes,
                                     const Store::EntryVisitor& visit);

}  // namespace harrier
