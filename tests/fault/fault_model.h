#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "storage/store.h"

namespace harrier::test {

// What a store must hold, and what it was given since that was last known for sure.

// One thing a batch does, in a form that does not depend on the interface of the store.
struct Step {
  enum class Kind {
    put,
    settle,
    settle_all,  // everything below `seq`
    drop_lane,
    deliver_all,  // likewise
    put_record,
    delete_record
  };
  Kind kind;
  std::uint32_t lane = 0;
  Sequence begin = 0;  // of settle_all: where the range starts
  Sequence seq = 0;
  std::uint32_t bytes = 0;  // of the body, of all bodies for settle_all
  std::uint32_t count = 0;  // of entries, for settle_all and settle
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

// The message with this place, the same every time.
MessageRef message_of(std::uint32_t lane, Sequence seq, std::uint32_t bytes);

struct LaneModel {
  Sequence next_seq = 1;
  std::map<Sequence, std::uint32_t> live;  // octets of the body
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
  std::map<std::uint32_t, std::map<Sequence, std::uint32_t>> entries;
  std::vector<std::string> complaints;

  // The number of the last batch that is in it, 0 if none is.
  std::uint64_t last_number() const;
};

enum class AfterCrash {
  no,
  yes
};

// Recovers `store`, keeping `lanes`: dropped ones may be among them, nothing may come of those.
// Fails only where the store does.
Result<Recovered, StoreError> read_back(Store& store, const std::vector<LaneId>& lanes,
                                        AfterCrash after);

// Where `found` differs from `expected`, one line each, at most a few.
std::vector<std::string> compare(const StoreModel& expected, const Recovered& found);

}  // namespace harrier::test
