#pragma once

#include <cstdint>

#include "base/result.h"
#include "storage/columns.h"
#include "storage/keys.h"
#include "storage/lane_states.h"
#include "storage/on_damage.h"
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
  OnDamage on_damage = OnDamage::refuse;  // found by pages; likewise
  bool clean = true;                      // new, or stopped cleanly the last time
  // Damage was accepted that has to be thrown away (Database::renew_snapshots): all is known
  // without the snapshots.
  bool snapshots_unreadable = false;
};

// Rebuilds the lanes: snapshots, then the ack records and block headers from the checkpoint on.
// Costs O(lanes + one or two epochs), not O(messages). Every lane's `next_seq` ends up above all
// its settled and stored sequences, even if its entries vanished before they were written: a
// sequence below a settled one must never be given out again. Counts the run, durably.
//
// What cannot be read is an error, or accepted and logged: then a scan of all blocks says which
// messages there are, everything else counts as settled, and all that is written, so that the next
// start finds nothing damaged. What a lost ack record or snapshot had settled comes again.
// Definitions are never given up: with them all messages of their queues would go.
Result<RecoveredStore, StoreError> recover(const Columns& columns,
                                           OnDamage on_damage = OnDamage::refuse);

// The same without counting a run: writes nothing and accepts no damage.
Result<RecoveredStore, StoreError> inspect(const Columns& columns);

}  // namespace harrier
