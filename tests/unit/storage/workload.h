#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "store_support.h"

namespace harrier::test {

// The record "progress" of a store, 0 if there is none.
std::uint64_t progress_of(const Content& content);

// Random batches as a broker might make them. The same seed and start give the same batches.
class Workload {
 public:
  static constexpr std::uint32_t kLanes = 12;

  // Goes on from what a store recovered.
  Workload(std::uint64_t seed, const Content& start, std::uint32_t first_lane);

  // One batch. Counts in the record "progress" how many there were, over all workloads of a store.
  StoreBatch next();

  std::vector<LaneId> lanes() const;

  // Some part of some lane.
  PageRequest page();

  // A dropped lane is replaced by this one.
  std::uint32_t next_lane() const { return next_lane_; }

 private:
  struct Lane {
    Sequence next_seq = 1;
    std::vector<Sequence> live;
  };

  void put(StoreBatch& batch);
  MessageRef stage(StoreBatch& batch, MessageRef message);
  void append(StoreBatch& batch, LaneId id, Lane& lane, const MessageRef& message, Timestamp now,
              Timestamp expires);
  void settle(StoreBatch& batch);
  void record(StoreBatch& batch);
  Lane& pick(LaneId& id);

  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  std::mt19937_64 random_;
  Accounts accounts_;
  std::vector<MessageRef> ahead_;  // their bodies are staged
  std::map<std::uint32_t, Lane> lanes_;
  std::uint32_t next_lane_;
  std::uint64_t progress_;
};

}  // namespace harrier::test
