#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "storage/columns.h"
#include "storage/keys.h"
#include "storage/lane_states.h"
#include "storage/store.h"

namespace harrier {

// What the database says about lanes after it was opened.
struct RecoveredStore {
  LaneStates lanes;
  Epoch epoch = 1;        // above all that occur in the database
  Epoch checkpoint = 0;   // everything settled before it is in the lane snapshots
  std::uint64_t run = 1;  // times the store was opened, this one included
  // Transient entries of runs from here on are still wanted. recover() gives `run`; who opens the
  // store again within one process puts in the first run of that.
  std::uint64_t first_run = 1;
  bool clean = true;  // new, or stopped cleanly the last time
};

// Rebuilds the lanes: snapshots, then the ack records and block headers from the checkpoint on.
// Costs O(lanes + one or two epochs), not O(messages). Every lane's `next_seq` ends up above all
// its settled and stored sequences, even if its entries vanished before they were written: a
// sequence below a settled one must never be given out again. Counts the run, durably.
Result<RecoveredStore, StoreError> recover(const Columns& columns);

// The same without counting a run: writes nothing.
Result<RecoveredStore, StoreError> inspect(const Columns& columns);

// Visits the definitions whose key starts with `prefix`, in key order.
Result<void, StoreError> scan_definitions(const Columns& columns, std::string_view prefix,
                                          const Store::RecordVisitor& visit);

// Visits the unsettled persistent entries of all lanes in `lanes`, in the order of the disk.
Result<void, StoreError> scan_blocks(const Columns& columns, const LaneStates& lanes,
                                     const Store::EntryVisitor& visit);

}  // namespace harrier
