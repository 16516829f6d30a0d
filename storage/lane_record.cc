#include "storage/lane_record.h"

#include "storage/crc32c.h"
#include "storage/octets.h"

namespace harrier {

namespace {

constexpr std::uint8_t kFormat = 1;
constexpr std::size_t kChecksumBytes = 4;

enum LaneFlag : std::uint8_t {
  dropped_flag = 1,
  delivered_flag = 2
};

void append_ranges(Buffer& out, std::span<const SequenceRange> ranges, Sequence end) {
  append_varint(out, ranges.size());
  for (const SequenceRange& range : ranges) {
    append_varint(out, range.begin - end);
    append_varint(out, range.end - range.begin);
    end = range.end;
  }
}

void read_ranges(OctetReader& reader, Sequence end, std::vector<SequenceRange>& out) {
  out.clear();
  for (std::uint64_t left = reader.varint(); left > 0 && reader.ok(); --left) {
    const Sequence begin = end + reader.varint();
    const Sequence length = reader.varint();
    if (begin < end || begin + length < begin) reader.fail();
    end = begin + length;
    out.push_back({begin, end});
  }
}

void append_tally(Buffer& out, const Tally& tally) {
  append_varint(out, tally.entries);
  append_varint(out, tally.bytes);
}

Tally read_tally(OctetReader& reader) {
  Tally tally;
  tally.entries = reader.varint();
  tally.bytes = reader.varint();
  return tally;
}

void append_checksum(Buffer& out, ByteView key) {
  append_fixed(out, crc32c(out.view(), crc32c(key)));
}

// What lies between the format and the checksum, if both are right.
std::optional<ByteView> checked_content(ByteView key, ByteView record) {
  if (record.size() < 1 + kChecksumBytes) return std::nullopt;
  const ByteView covered = record.substr(0, record.size() - kChecksumBytes);
  OctetReader tail(record.substr(covered.size()));
  if (tail.fixed<std::uint32_t>() != crc32c(covered, crc32c(key))) return std::nullopt;
  if (static_cast<std::uint8_t>(covered[0]) != kFormat) return std::nullopt;
  return covered.substr(1);
}

// Leaves the reader failed when the content is not what a builder makes.
void read_lane_change(OctetReader& reader, LaneChange& change) {
  const std::uint64_t lane = reader.varint();
  const auto flags = reader.fixed<std::uint8_t>();
  if (lane > UINT32_MAX) reader.fail();
  change.lane = LaneId{static_cast<std::uint32_t>(lane)};
  change.dropped = (flags & dropped_flag) != 0;
  change.delivered.reset();
  if (flags & delivered_flag) change.delivered = reader.varint();
  change.tally = change.dropped ? Tally{} : read_tally(reader);
  read_ranges(reader, 0, change.settled);
}

}  // namespace

AckRecordBuilder::AckRecordBuilder() {
  append_fixed(octets_, kFormat);
}

void AckRecordBuilder::changed(LaneId lane, std::span<const SequenceRange> normalized,
                               std::optional<Sequence> delivered, const Tally& tally) {
  start_unless_started();
  append_varint(octets_, lane.value);
  append_fixed(octets_, static_cast<std::uint8_t>(delivered ? delivered_flag : 0));
  if (delivered) append_varint(octets_, *delivered);
  append_tally(octets_, tally);
  append_ranges(octets_, normalized, 0);
}

void AckRecordBuilder::dropped(LaneId lane) {
  start_unless_started();
  append_varint(octets_, lane.value);
  append_fixed(octets_, static_cast<std::uint8_t>(dropped_flag));
  append_ranges(octets_, {}, 0);
}

void AckRecordBuilder::start_unless_started() {
  if (!finished_) return;
  octets_.truncate(1);
  finished_ = false;
}

ByteView AckRecordBuilder::finish(const AckKey& key) {
  start_unless_started();
  append_checksum(octets_, encode(key).view());
  finished_ = true;
  return octets_.view();
}

bool read_ack_record(const AckKey& key, ByteView record,
                     const std::function<void(const LaneChange&)>& visit) {
  const std::optional<ByteView> content = checked_content(encode(key).view(), record);
  if (!content) return false;
  LaneChange change;
  for (OctetReader reader(*content); reader.left() > 0;) {
    read_lane_change(reader, change);
    if (!reader.ok()) return false;
    visit(change);
  }
  return true;
}

void write_lane_snapshot(const LaneState& lane, Buffer& out) {
  out.clear();
  append_fixed(out, kFormat);
  append_varint(out, lane.next_seq);
  append_varint(out, lane.next_put);
  append_varint(out, lane.delivered);
  append_tally(out, lane.tally);
  append_varint(out, lane.settled.floor());
  append_ranges(out, lane.settled.ranges(), lane.settled.floor());
  append_varint(out, lane.runs.size());
  Epoch epoch = 0;
  for (const LaneRun& run : lane.runs) {
    append_varint(out, run.epoch - epoch);
    append_varint(out, run.first_seq);
    append_varint(out, run.last_seq - run.first_seq);
    append_varint(out, run.entries);
    append_varint(out, run.bytes);
    append_varint(out, run.bodies.begin);
    append_varint(out, run.bodies.end - run.bodies.begin);
    epoch = run.epoch;
  }
  append_varint(out, lane.bodies.size());
  Sequence seq = 0;
  for (const BodyUse& use : lane.bodies) {
    append_varint(out, use.seq - seq);
    append_varint(out, use.epoch);
    seq = use.seq;
  }
  append_checksum(out, encode(lane.id).view());
}

std::optional<LaneState> read_lane_snapshot(LaneId lane, ByteView snapshot) {
  const std::optional<ByteView> content = checked_content(encode(lane).view(), snapshot);
  if (!content) return std::nullopt;
  OctetReader reader(*content);
  LaneState state;
  state.id = lane;
  state.next_seq = reader.varint();
  state.next_put = reader.varint();
  state.delivered = reader.varint();
  state.tally = read_tally(reader);
  const Sequence floor = reader.varint();
  std::vector<SequenceRange> ranges;
  read_ranges(reader, floor, ranges);
  ranges.insert(ranges.begin(), {0, floor});
  normalize(ranges);
  state.settled.add(ranges);
  Epoch epoch = 0;
  for (std::uint64_t left = reader.varint(); left > 0 && reader.ok(); --left) {
    LaneRun run;
    run.epoch = epoch + static_cast<Epoch>(reader.varint());
    run.first_seq = reader.varint();
    run.last_seq = run.first_seq + reader.varint();
    run.entries = reader.varint();
    run.bytes = reader.varint();
    run.bodies.begin = reader.varint();
    run.bodies.end = run.bodies.begin + reader.varint();
    epoch = run.epoch;
    state.runs.push_back(run);
  }
  Sequence seq = 0;
  for (std::uint64_t left = reader.varint(); left > 0 && reader.ok(); --left) {
    seq += reader.varint();
    state.bodies.push_back({seq, static_cast<Epoch>(reader.varint())});
  }
  if (!reader.ok() || reader.left() > 0) return std::nullopt;
  return state;
}

}  // namespace harrier
