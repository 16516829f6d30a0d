#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "storage/commit_writer.h"
#include "storage/lane_page.h"
#include "storage/store_scan.h"
#include "store_support.h"

namespace harrier::test {

// A commit writer on a database of its own, without the thread of the commit loop.
struct WriterBench {
  static constexpr LaneId kLane{3};
  static constexpr std::uint64_t kSmallEpochs = 256ULL << 10;  // memtables: many in one test

  explicit WriterBench(std::uint64_t write_buffer_bytes = 96ULL << 20,
                       const WriterLimits& others = {})
      : limits(others) {
    config.write_buffer_bytes = write_buffer_bytes;
    limits.epoch_bytes = epoch_bytes(config);
    open();
  }

  // What was written and not synced stays: the process was killed, not the machine.
  void reopen() {
    writer.reset();
    database.reset();
    open();
  }

  std::uint64_t write() {
    const auto written = writer->write({&batch, 1});
    REQUIRE(written.has_value());
    batch.clear();
    CHECK(writer->lanes().check_invariants());
    return *written;
  }

  // What a restart would find.
  RecoveredStore recovered() const {
    auto found = recover(database->columns());
    REQUIRE(found.has_value());
    return *std::move(found);
  }

  std::vector<Sequence> stored(LaneId lane) const {
    std::vector<Sequence> found;
    const RecoveredStore store = recovered();
    CHECK(scan_blocks(database->columns(), store.lanes, [&](StoredEntry&& entry) {
            if (entry.lane == lane) found.push_back(entry.seq);
          }).has_value());
    return found;
  }

  LanePage page(const PageRequest& request) const {
    return read_page(database->columns(), run,
                     plan_page(writer->lanes().find(request.lane), request));
  }

  // Where damage is accepted.
  LanePage accepting_page(const PageRequest& request) const {
    return read_page(database->columns(), run,
                     plan_page(writer->lanes().find(request.lane), request), OnDamage::accept);
  }

  const LaneState& lane(LaneId id = kLane) const { return *writer->lanes().find(id); }

  void put(Sequence seq, std::string_view body = "body") {
    accounts.put(batch, kLane, seq, text_message(body));
  }

  void settle(Sequence seq, LaneId lane = kLane) { accounts.settle(batch, lane, seq); }

  void settle_below(Sequence end) { accounts.settle_range(batch, kLane, 1, end); }

  TempDir temp;
  StoreConfig config;
  WriterLimits limits;
  FloorFilter filter;
  std::unique_ptr<Database> database;
  std::uint64_t run = 0;
  std::unique_ptr<CommitWriter> writer;
  Accounts accounts;
  StoreBatch batch;

 private:
  void open() {
    auto opened = Database::open(temp.path() + "/db", config, filter);
    REQUIRE(opened.has_value());
    database = *std::move(opened);
    auto found = recover(database->columns());
    REQUIRE(found.has_value());
    run = found->run;
    writer = std::make_unique<CommitWriter>(*database, filter, *std::move(found), limits);
  }
};

}  // namespace harrier::test
