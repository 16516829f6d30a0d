#pragma once

#include <memory>

#include "base/result.h"
#include "storage/store.h"
#include "storage/store_config.h"

namespace harrier {

// Opens or creates the durable store in `config.data_dir` and takes the directory for this process.
// Returns after the recovery of the lanes, in time independent of the number of messages. Errors:
// locked, unusable, newer_format (before anything is written), corruption, io, no_space.
Result<std::unique_ptr<Store>, StoreError> open_rocks_store(const StoreConfig& config);

}  // namespace harrier
