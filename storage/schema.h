#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "storage/columns.h"
#include "storage/data_dir.h"
#include "storage/store.h"

namespace harrier {

// Which layout the data directory has. Kept in a file of its own, in text, so that it can be judged
// before RocksDB writes anything:
//
//   harrier store
//   format 1          layout of everything in db/
//   min_reader 1      oldest `format` whose programs understand this layout as well
//
// Single blocks, ack records and snapshots carry a format octet besides: a layout that differs only
// in new kinds of those needs no migration.
struct StoreFormat {
  std::uint32_t format = 1;
  std::uint32_t min_reader = 1;

  friend bool operator==(const StoreFormat&, const StoreFormat&) = default;
};

inline constexpr std::string_view kFormatFile = "store.format";
inline constexpr StoreFormat kCurrentFormat{.format = 1, .min_reader = 1};

std::string to_text(const StoreFormat& format);
std::optional<StoreFormat> parse_store_format(std::string_view text);

// The format of what lies in `directory`, none if there is no store yet. Writes nothing. Errors:
// newer_format when this program is too old for it, corruption.
Result<std::optional<StoreFormat>, StoreError> read_store_format(const DataDir& directory);

Result<void, StoreError> write_store_format(const DataDir& directory, const StoreFormat& format);

// One step of layout: brings format `from` to `from` + 1. Runs on the open database before the
// recovery, again if it was interrupted, so it must be idempotent; what it writes must be synced.
struct Migration {
  std::uint32_t from;
  std::string_view what;
  std::function<Result<void, StoreError>(const Columns&)> run;
};

// All steps there are, ascending.
std::span<const Migration> migrations();

// Runs the steps that lead from `found` to the current format and notes each when it is done.
Result<void, StoreError> migrate(const DataDir& directory, const StoreFormat& found,
                                 const Columns& columns, std::span<const Migration> steps);

}  // namespace harrier
