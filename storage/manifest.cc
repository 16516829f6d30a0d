#include "storage/manifest.h"

#include <algorithm>
#include <map>

#include "storage/log_format.h"
#include "storage/octets.h"

namespace harrier {

namespace {

// Tags of RocksDB's version edits, each followed by its fields: varints, or octets behind their
// length. Unknown tags with the bit kIgnorable are followed by octets.
enum Tag : std::uint64_t {
  comparator = 1,
  log_number = 2,
  next_file_number = 3,
  last_sequence = 4,
  compact_cursor = 5,
  deleted_file = 6,
  previous_log_number = 9,
  min_log_number_to_keep = 10,
  new_file = 103,
  column_family = 200,
  column_family_add = 201,
  column_family_drop = 202,
  max_column_family = 203,
  in_atomic_group = 300,
};

constexpr std::uint64_t kIgnorable = 1 << 13;
constexpr std::uint64_t kEndOfNewFile = 1;

// The logs that one edit speaks of.
struct Edit {
  std::uint64_t column_family = 0;
  std::optional<std::uint64_t> log_number;
  std::optional<std::uint64_t> min_log;
  bool drops_family = false;
};

void skip_octets(OctetReader& reader) {
  reader.octets(reader.varint());
}

void skip_new_file(OctetReader& reader) {
  for (int field = 0; field < 3; ++field)  // level, number, size
    reader.varint();
  skip_octets(reader);  // smallest and largest key
  skip_octets(reader);
  reader.varint();  // smallest and largest sequence
  reader.varint();
  while (reader.ok() && reader.varint() != kEndOfNewFile)
    skip_octets(reader);
}

void read_field(std::uint64_t tag, OctetReader& reader, Edit& edit) {
  switch (tag) {
    case Tag::log_number:
      edit.log_number = reader.varint();
      return;
    case Tag::min_log_number_to_keep:
      edit.min_log = reader.varint();
      return;
    case Tag::column_family:
      edit.column_family = reader.varint();
      return;
    case Tag::column_family_drop:
      edit.drops_family = true;
      return;
    case Tag::next_file_number:
    case Tag::last_sequence:
    case Tag::previous_log_number:
    case Tag::max_column_family:
    case Tag::in_atomic_group:
      reader.varint();
      return;
    case Tag::deleted_file:
      reader.varint();
      reader.varint();
      return;
    case Tag::compact_cursor:
      reader.varint();
      skip_octets(reader);
      return;
    case Tag::new_file:
      skip_new_file(reader);
      return;
    case Tag::comparator:
    case Tag::column_family_add:
      skip_octets(reader);
      return;
    default:
      if ((tag & kIgnorable) == 0) return reader.fail();
      skip_octets(reader);
  }
}

// None for an edit of a kind we do not know: nothing is concluded from it.
std::optional<Edit> read_edit(ByteView record) {
  OctetReader reader(record);
  Edit edit;
  while (reader.ok() && reader.left() > 0) {
    const std::uint64_t tag = reader.varint();
    read_field(tag, reader, edit);
  }
  if (!reader.ok()) return std::nullopt;
  return edit;
}

// The logs needed after a number of edits.
class NeededLogs {
 public:
  void apply(ByteView record) {
    const std::optional<Edit> edit = read_edit(record);
    if (!edit) return;
    if (edit->log_number) log_of_family_[edit->column_family] = *edit->log_number;
    if (edit->min_log) min_log_ = std::max(min_log_, *edit->min_log);
    if (edit->drops_family) log_of_family_.erase(edit->column_family);
  }

  std::uint64_t first() const {
    const auto older = [](const auto& a, const auto& b) { return a.second < b.second; };
    const auto oldest = std::min_element(log_of_family_.begin(), log_of_family_.end(), older);
    return std::max(min_log_, oldest == log_of_family_.end() ? 0 : oldest->second);
  }

 private:
  std::map<std::uint64_t, std::uint64_t> log_of_family_;  // by number of the column family
  std::uint64_t min_log_ = 0;
};

}  // namespace

Manifest read_manifest(ByteView file) {
  Manifest manifest;
  NeededLogs needed;
  LogReader reader(file);
  while (const auto piece = reader.next()) {
    if (!piece->intact) {
      if (!manifest.damage) {
        manifest.damage = {.offset = piece->begin,
                           .is_one_bit_off = is_one_bit_off(file, piece->bad_at)};
      }
    } else if (manifest.damage) {
      manifest.damage->is_followed = true;
    } else {
      manifest.intact_bytes = piece->end;
      needed.apply(piece->record);
    }
  }
  manifest.first_log_needed = needed.first();
  return manifest;
}

std::optional<std::string> manifest_name(ByteView current) {
  constexpr ByteView kPrefix = "MANIFEST-";
  if (!current.starts_with(kPrefix) || !current.ends_with('\n')) return std::nullopt;
  const ByteView digits = current.substr(kPrefix.size(), current.size() - kPrefix.size() - 1);
  if (digits.empty() || digits.find_first_not_of("0123456789") != ByteView::npos)
    return std::nullopt;
  return std::string(current.substr(0, current.size() - 1));
}

}  // namespace harrier
