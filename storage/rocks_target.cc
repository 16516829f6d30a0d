#include "storage/rocks_target.h"

#include <utility>

#include <fmt/core.h>

#include "base/log.h"
#include "storage/crc32c.h"
#include "storage/disk_space.h"
#include "storage/known_logs.h"
#include "storage/recovery.h"
#include "storage/rocks_crc.h"

namespace harrier {

namespace {

constexpr Logger kLog("storage");

// What opening the database and writing again all that is not synced needs at most, about.
constexpr std::uint64_t kHealBytes = 16 << 20;

}  // namespace

RocksTarget::RocksTarget(std::string data_dir, StoreConfig config)
    : data_dir_(std::move(data_dir)), config_(std::move(config)), disk_(config_.file_system) {}

RocksTarget::~RocksTarget() = default;

Result<void, StoreError> RocksTarget::open(OnDamage on_damage) {
  const auto guarded = guard_database(disk_, data_dir_, on_damage);
  if (!guarded) return fail(guarded.error());
  if (auto made = disk_.make_directory(database_path()); !made) return made;
  auto opened = Database::open(database_path(), config_, filter_);
  if (!opened) return fail(opened.error());
  database_ = *std::move(opened);
  return {};
}

Result<void, StoreError> RocksTarget::recover(OnDamage on_damage) {
  auto recovered = harrier::recover(columns(), on_damage);
  if (!recovered) return fail(recovered.error());
  if (recovered->snapshots_unreadable) {
    if (auto renewed = database_->renew_snapshots(); !renewed) return renewed;
  }
  if (auto noted = note_logs(disk_, database_path()); !noted) return noted;
  if (first_run_ == 0) first_run_ = recovered->run;
  recovered->first_run = first_run_;
  recovered->on_damage = config_.accept_data_loss ? OnDamage::accept : OnDamage::refuse;
  kLog.info("store in {} open: {} lanes, epoch {}, last stop {}, checksums {}", data_dir_,
            recovered->lanes.all().size(), recovered->epoch,
            recovered->clean ? "clean" : "not clean",
            rocksdb_uses_our_crc() && crc32c_is_fast() ? "by the processor" : "by table");
  writer_ = std::make_unique<CommitWriter>(*database_, filter_, *std::move(recovered),
                                           WriterLimits{.epoch_bytes = epoch_bytes(config_)});
  return {};
}

Result<std::uint64_t, StoreError> RocksTarget::write(std::span<StoreBatch> batches) {
  return writer_->write(batches);
}

Result<void, StoreError> RocksTarget::sync() {
  if (auto synced = writer_->sync(); !synced) return synced;
  // By now all is written again that these pages have to show.
  for (PendingPage& page : std::exchange(unread_, {}))
    writer_->read(page.request, std::move(page.done));
  return {};
}

Result<void, StoreError> RocksTarget::tidy(bool idle) {
  return writer_->tidy(idle);
}

Result<void, StoreError> RocksTarget::close() {
  return writer_->close();
}

void RocksTarget::read(const PageRequest& request, Store::PageReader done) {
  if (writer_ == nullptr) {  // between two attempts to heal
    unread_.push_back({request, std::move(done)});
    return;
  }
  writer_->read(request, std::move(done));
}

void RocksTarget::end_reads() {
  unread_.clear();
  if (writer_ != nullptr) writer_->end_reads();
}

CommitTarget::CopyResult RocksTarget::copy_to(const std::string& directory) {
  return writer_->copy_to(directory);
}

Result<void, StoreError> RocksTarget::heal() {
  const auto free = free_bytes(data_dir_, config_);
  if (!free) return fail(free.error());
  if (*free < kHealBytes) {  // until then the database stays open: what it has can be read
    return fail(StoreError{StoreError::Kind::no_space,
                           fmt::format("the disk of {} has {} octets left, {} are needed to go on",
                                       data_dir_, *free, kHealBytes)});
  }
  // A lane whose drop lies before the checkpoint is in no record any more. Those of the writer's
  // own epoch are: recovery finds the ones that are durable, the others are written again.
  if (writer_ != nullptr) {
    for (const auto& [lane, epoch] : writer_->lanes().dropped()) {
      if (epoch < writer_->epoch()) dropped_[lane] = epoch;
    }
    for (PendingPage& page : writer_->take_unread())
      unread_.push_back(std::move(page));
  }
  writer_.reset();
  database_.reset();
  if (auto opened = open(OnDamage::refuse); !opened) return opened;
  if (auto recovered = recover(OnDamage::refuse); !recovered) return recovered;
  writer_->expect_repeats(dropped_);
  return {};
}

}  // namespace harrier
