#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "storage/store.h"

namespace harrier::test {

// What a store must hold, and what it was given since that was last known for sure.

// What an entry is.
struct EntryModel {
  std::uint32_t bytes = 0;   // of the body
  std::uint64_t shared = 0;  // the same message wherever this number is; 0: its own
  bool is_transient = false;

  friend bool operator==(const EntryModel&, const EntryModel&) = default;
};

// One thing a batch does, in a form that does not depend on the interface of the store.
struct Step {
  enum class Kind {
    put,
    settle,
    settle_all,  // everything below `seq`
    drop_lane,
    deliver_all,  // likewise
    put_record,
    delete_record,
    stage,   // a part of the body of `message`
    unstage  // of its whole body
  };
  Kind kind;
  std::uint32_t lane = 0;
  Sequence begin = 0;  // of settle_all: where the range starts
  Sequence seq = 0;
  std::uint32_t bytes = 0;  // of the body for settle, of all bodies for settle_all
  std::uint32_t count = 0;  // of entries, for settle_all and settle
  EntryModel entry{};       // of put
  MessageRef message{};     // likewise, where it is shared; null otherwise
  std::size_t offset = 0;   // of the part, for stage
  std::size_t octets = 0;   // likewise
  std::string key{};
  std::string value{};
};

// A batch as it was submitted.
struct Submission {
  std::uint64_t number = 0;  // place among all batches of all submitters, ever
  std::uint32_t submitter = 0;
  Ticket ticket = 0;
  std::vector<Step> steps;
  std::uint64_t group = 0;  // 0: none
  std::uint32_t parts = 0;
  bool want_sync = false;
  bool leaves_trace = true;  // false: what it puts it settles itself
};

StoreBatch to_batch(const Submission& submission);

// The message with this place, the same every time; a shared one is the same in any place.
MessageRef message_of(std::uint32_t lane, Sequence seq, const EntryModel& entry);

struct LaneModel {
  Sequence next_seq = 1;
  std::map<Sequence, EntryModel> live;  // persistent ones
  std::set<Sequence> transient;         // that are forgotten when the store ends
};

struct StoreModel {
  std::map<std::string, std::string> records;
  std::map<std::uint32_t, LaneModel> lanes;

  void apply(const Submission& submission);
};

// The record in which each submitter counts: the number of its last batch.
std::string progress_key(std::uint32_t submitter);

// What a recovered store says, and what is wrong with it by itself.
struct Recovered {
  std::map<std::string, std::string> records;
  std::map<std::uint32_t, Sequence> next_seq;
  std::map<std::uint32_t, Tally> tally;
  std::map<std::uint32_t, std::map<Sequence, EntryModel>> entries;
  std::vector<std::string> complaints;
  bool all_redelivered = false;  // have to be

  // The number of the last batch that is in it, 0 if none is.
  std::uint64_t last_number() const;
};

enum class AfterCrash {
  no,
  yes
};

// Recovers `store`, keeping `lanes`: dropped ones may be among them, nothing may come of those. The
// entries are still to be read, in one of two ways. All fail only where the store does.
Result<Recovered, StoreError> read_back(Store& store, const std::vector<LaneId>& lanes,
                                        AfterCrash after);
// In one pass over the store, before there are submitters.
Result<void, StoreError> scan_entries(Store& store, Recovered& found);
// Lane by lane in pages of about `page_bytes`, once there are submitters.
Result<void, StoreError> read_pages(Store& store, std::size_t page_bytes, Recovered& found);

// Where `found` differs from `expected`, one line each, at most a few.
std::vector<std::string> compare(const StoreModel& expected, const Recovered& found);

// Whether one of the complaints of compare() or of FaultWorkload::judge() is that something is
// gone.
bool tells_of_loss(const std::vector<std::string>& complaints);

}  // namespace harrier::test
