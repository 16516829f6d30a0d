#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "storage/keys.h"
#include "storage/lane_states.h"

namespace rocksdb {
class CompactionFilterFactory;
}

namespace harrier {

// Which blocks nobody needs any more, as of a moment at which everything was synced. Immutable:
// made by the committer thread, read by RocksDB's threads. A lane that is not in it loses nothing.
class FloorTable {
 public:
  explicit FloorTable(const LaneStates& lanes);

  struct Decision {
    bool keep = true;
    BlockKey skip_until{};  // above `key`: no block up to here is needed
  };

  // What to do with the block `key`, whose first sequence is `first_seq`.
  Decision decide(const BlockKey& key, Sequence first_seq) const;

 private:
  struct Lane {
    LaneId id;
    bool dropped = false;
    std::uint32_t ranges_end = 0;  // its ranges start where those of the lane before end
    Sequence floor = 0;
  };

  std::vector<Lane> lanes_;  // by id
  std::vector<SequenceRange> ranges_;
};

// The only deleter of messages, at flush and at compaction. Holds the newest floor table; keeps
// everything while there is none.
class FloorFilter {
 public:
  FloorFilter();
  ~FloorFilter();

  // To be given to the options of the msg column family.
  std::shared_ptr<rocksdb::CompactionFilterFactory> factory() const;

  // Only with floors that are synced: what the filter drops must not come back as unsettled.
  void publish(std::shared_ptr<const FloorTable> table);

 private:
  class Factory;
  std::shared_ptr<Factory> factory_;
};

}  // namespace harrier
