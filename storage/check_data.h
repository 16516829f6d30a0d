#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/store.h"
#include "storage/store_config.h"

namespace harrier {

// What a look at every octet of a stopped store found.
struct DataReport {
  std::uint64_t definitions = 0;
  std::uint64_t lanes = 0;
  std::uint64_t ack_records = 0;
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;          // of all blocks, settled messages included
  std::uint64_t entries = 0;        // unsettled
  std::uint64_t epochs = 0;         // with blocks
  std::vector<std::string> damage;  // one line each: where, and what is lost
  std::vector<std::string> notes;   // what the next start will cut off: nothing confirmed

  bool is_sound() const { return damage.empty(); }
};

// Reads the whole store in `config.data_dir` and compares what the recovery makes of it with what
// is there. Changes nothing; no broker can start meanwhile. Errors: locked, unusable (there is no
// store), newer_format, io. Whatever can be read of a damaged store is counted.
Result<DataReport, StoreError> check_data(const StoreConfig& config);

// The report for people, ending with a line feed.
std::string to_text(const DataReport& report);

}  // namespace harrier
