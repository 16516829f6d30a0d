#include "storage/rocks_store.h"

#include <utility>
#include <vector>

#include "storage/commit_loop.h"
#include "storage/data_dir.h"
#include "storage/rocks_target.h"
#include "storage/schema.h"
#include "storage/store_scan.h"

namespace harrier {

namespace {

// Members in the order in which they are needed; destroyed in reverse: the loop ends its thread
// before its target goes, the database closes before the directory is given free.
class RocksStore final : public Store {
 public:
  explicit RocksStore(DataDir directory) : directory_(std::move(directory)) {}

  Result<void, StoreError> open(const StoreConfig& config) {
    const auto found = read_store_format(directory_);
    if (!found) return fail(found.error());
    if (!*found) {
      if (auto noted = write_store_format(directory_, kCurrentFormat); !noted) return noted;
    }
    const OnDamage on_damage = config.accept_data_loss ? OnDamage::accept : OnDamage::refuse;
    target_ = std::make_unique<RocksTarget>(directory_.path(), config);
    if (auto opened = target_->open(on_damage); !opened) return opened;
    const StoreFormat format = found->value_or(kCurrentFormat);
    if (auto done = migrate(directory_, format, columns(), migrations()); !done) return done;
    if (auto recovered = target_->recover(on_damage); !recovered) return recovered;
    loop_ = std::make_unique<CommitLoop>(*target_);
    return {};
  }

  Result<void, StoreError> scan_records(std::string_view prefix,
                                        const RecordVisitor& visit) override {
    return scan_definitions(columns(), prefix, visit);
  }

  Result<std::vector<RecoveredLane>, StoreError> recover_lanes(
      const std::vector<LaneId>& live) override {
    if (auto kept = target_->writer().keep_lanes(live); !kept) return fail(kept.error());
    std::vector<RecoveredLane> lanes;
    lanes.reserve(live.size());
    for (const LaneId id : live) {
      const LaneState* lane = target_->writer().lanes().find(id);
      RecoveredLane& recovered = lanes.emplace_back();
      recovered.lane = id;
      if (lane == nullptr) continue;
      recovered.first_seq = lane->settled.floor();
      recovered.next_seq = lane->next_seq;
      recovered.tally = lane->tally;
    }
    return lanes;
  }

  Result<void, StoreError> scan_entries(const EntryVisitor& visit) override {
    return scan_blocks(columns(), target_->writer().lanes(), visit);
  }

  SubmitterId add_submitter(StoreListener listener) override {
    return loop_->add_submitter(std::move(listener));
  }

  Ticket submit(SubmitterId submitter, StoreBatch& batch) override {
    return loop_->submit(submitter, batch);
  }

  void read(const PageRequest& request, PageReader done) override {
    loop_->read(request, std::move(done));
  }

  void copy_to(std::string directory, CopyDone done) override {
    loop_->copy_to(std::move(directory), std::move(done));
  }

  void stop() override { loop_->stop(); }

 private:
  const Columns& columns() const { return target_->columns(); }

  DataDir directory_;
  std::unique_ptr<RocksTarget> target_;
  std::unique_ptr<CommitLoop> loop_;
};

}  // namespace

Result<std::unique_ptr<Store>, StoreError> open_rocks_store(const StoreConfig& config) {
  auto directory = DataDir::open(config.data_dir, Disk(config.file_system));
  if (!directory) return fail(directory.error());
  auto store = std::make_unique<RocksStore>(*std::move(directory));
  if (auto opened = store->open(config); !opened) return fail(opened.error());
  return store;
}

}  // namespace harrier
