#include "storage/store_scan.h"

#include <memory>
#include <string>
#include <utility>

#include <fmt/core.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>

#include "storage/block.h"
#include "storage/body_store.h"
#include "storage/file_scan.h"

namespace harrier {

namespace {

ByteView view(const rocksdb::Slice& octets) {
  return {octets.data(), octets.size()};
}

StoreError damaged(std::string_view what, std::string_view key) {
  return {StoreError::Kind::corruption,
          fmt::format("a stored {} is damaged (key {}); restore a backup", what, to_hex(key))};
}

}  // namespace

Result<void, StoreError> scan_definitions(const Columns& columns, std::string_view prefix,
                                          const Store::RecordVisitor& visit) {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(columns.db->NewIterator(options, columns.meta));
  const std::string first = definition_key(prefix);
  for (it->Seek(first); it->Valid() && it->key().starts_with(first); it->Next()) {
    visit(view(it->key()).substr(kDefinitionPrefix.size()), view(it->value()));
  }
  if (!it->status().ok()) return fail(store_error(it->status(), "reading definitions"));
  return {};
}

Result<void, StoreError> scan_blocks(const Columns& columns, const LaneStates& lanes,
                                     const Store::EntryVisitor& visit) {
  BodyReader bodies(columns);
  const auto it = scan_files(*columns.db, columns.msg);
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const auto key = decode_block_key(view(it->key()));
    if (!key) return fail(damaged("block key", view(it->key())));
    const auto found = lanes.all().find(key->lane);
    if (found == lanes.all().end()) continue;
    const LaneState& lane = found->second;
    if (key->last_seq < lane.settled.floor()) continue;
    BlockReader block(*key, view(it->value()));
    while (const auto entry = block.next()) {
      if (!entry->parts.persistent || lane.settled.contains(entry->seq)) continue;
      MessageRef message = bodies.message(key->epoch, *entry);
      if (!message) return fail(damaged("body of a block", view(it->key())));
      visit({.lane = key->lane,
             .seq = entry->seq,
             .message = std::move(message),
             .enqueued_at = entry->enqueued_at,
             .expires_at = entry->expires_at,
             .redelivered = entry->seq < lane.delivered});
    }
    if (block.ok()) continue;
    const auto header = read_block_header(view(it->value()));
    const Sequence first = header ? header->first_seq : 0;
    if (lane.settled.covers({first, key->last_seq + 1})) continue;
    return fail(damaged("block", view(it->key())));
  }
  if (!it->status().ok()) return fail(store_error(it->status(), "reading messages"));
  return {};
}

}  // namespace harrier
