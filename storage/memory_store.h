#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/store.h"

namespace harrier {

// A Store without a disk, for tests: batches count as durable inside submit(), or, with hold(),
// when the test releases them. reopen() gives what a restarted broker would find. Single threaded.
class MemoryStore final : public Store {
 public:
  MemoryStore();
  ~MemoryStore() override;

  Result<void, StoreError> scan_records(std::string_view prefix,
                                        const RecordVisitor& visit) override;
  Result<std::vector<RecoveredLane>, StoreError> recover_lanes(
      const std::vector<LaneId>& live) override;
  Result<void, StoreError> scan_entries(const EntryVisitor& visit) override;
  SubmitterId add_submitter(StoreListener listener) override;
  Ticket submit(SubmitterId submitter, StoreBatch& batch) override;
  void read(const PageRequest& request, PageReader done) override;
  void copy_to(std::string directory, CopyDone done) override;
  void stop() override;

  // From now on batches stay volatile until release(), and pages are read then; crash() drops the
  // held ones.
  void hold();
  void release();
  void crash();
  // From now on every submit ends in on_failure with this error.
  void fail_with(StoreError error);
  // Forgets the submitters and marks every entry as redelivered unless stop() was called.
  void reopen();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace harrier
