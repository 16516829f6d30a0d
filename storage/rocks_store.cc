#include "storage/rocks_store.h"

#include <utility>
#include <vector>

#include "base/log.h"
#include "storage/commit_loop.h"
#include "storage/commit_writer.h"
#include "storage/crc32c.h"
#include "storage/data_dir.h"
#include "storage/database.h"
#include "storage/floor_filter.h"
#include "storage/known_logs.h"
#include "storage/log_guard.h"
#include "storage/recovery.h"
#include "storage/rocks_crc.h"
#include "storage/schema.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");

// Members in the order in which they are needed; destroyed in reverse: the loop ends its thread
// before the writer goes, the database closes before the directory is given free.
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
    const auto guarded = guard_database(directory_.path(), on_damage);
    if (!guarded) return fail(guarded.error());
    auto opened = Database::open(directory_.file("db"), config, filter_);
    if (!opened) return fail(opened.error());
    database_ = *std::move(opened);
    const StoreFormat format = found->value_or(kCurrentFormat);
    if (auto done = migrate(directory_, format, columns(), migrations()); !done) return done;
    auto recovered = recover(columns());
    if (!recovered) return fail(recovered.error());
    note_logs(directory_.file("db"));
    kLog.info("store in {} open: {} lanes, epoch {}, last stop {}, checksums {}", directory_.path(),
              recovered->lanes.all().size(), recovered->epoch,
              recovered->clean ? "clean" : "not clean",
              rocksdb_uses_our_crc() && crc32c_is_fast() ? "by the processor" : "by table");
    writer_ = std::make_unique<CommitWriter>(*database_, filter_, *std::move(recovered),
                                             WriterLimits{.epoch_bytes = epoch_bytes(config)});
    loop_ = std::make_unique<CommitLoop>(*writer_);
    return {};
  }

  Result<void, StoreError> scan_records(std::string_view prefix,
                                        const RecordVisitor& visit) override {
    return scan_definitions(columns(), prefix, visit);
  }

  Result<std::vector<RecoveredLane>, StoreError> recover_lanes(
      const std::vector<LaneId>& live) override {
    if (auto kept = writer_->keep_lanes(live); !kept) return fail(kept.error());
    std::vector<RecoveredLane> lanes;
    lanes.reserve(live.size());
    for (const LaneId id : live) {
      const LaneState* lane = writer_->lanes().find(id);
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
    return scan_blocks(columns(), writer_->lanes(), visit);
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
  const Columns& columns() const { return database_->columns(); }

  DataDir directory_;
  FloorFilter filter_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<CommitWriter> writer_;
  std::unique_ptr<CommitLoop> loop_;
};

}  // namespace

Result<std::unique_ptr<Store>, StoreError> open_rocks_store(const StoreConfig& config) {
  auto directory = DataDir::open(config.data_dir);
  if (!directory) return fail(directory.error());
  auto store = std::make_unique<RocksStore>(*std::move(directory));
  if (auto opened = store->open(config); !opened) return fail(opened.error());
  return store;
}

}  // namespace harrier
