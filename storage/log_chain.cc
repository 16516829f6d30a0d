#include "storage/log_chain.h"

#include <fmt/core.h>

#include "storage/log_format.h"

namespace harrier {

void LogChain::add(std::uint64_t log, std::uint64_t synced_bytes, ByteView octets) {
  LogReader reader(octets);
  std::uint64_t intact_end = 0;
  while (const auto piece = reader.next()) {
    const auto batch = piece->intact ? read_logged_batch(piece->record) : std::nullopt;
    if (batch) {
      take(log, *batch, piece->end, piece->begin == 0);
      intact_end = piece->end;
    } else {
      take_damage({log, piece->begin},
                  piece->begin < synced_bytes || is_one_bit_off(octets, piece->bad_at));
    }
  }
  if (intact_end < synced_bytes) take_damage({log, intact_end}, true);
  if (!break_ && intact_end < octets.size()) idle_ends_.push_back({log, intact_end});
}

void LogChain::take(std::uint64_t log, const LoggedBatch& batch, std::uint64_t end,
                    bool opens_log) {
  if (break_ || !goes_on_with(log, batch)) return take_behind_break(log, batch);
  damage_.reset();  // nothing was in there, or what a run before this one had lost already
  last_ = {log, end};
  if (batch.mark) last_mark_ = batch.mark;
  expected_seq_ = batch.first_seq + batch.count;
  // RocksDB begins its first log after a replay with an empty batch that has the number at which
  // the replay ended. It may go on with a higher one that it knows from the MANIFEST.
  if (opens_log && batch.count == 0 && !batch.mark) expected_seq_.reset();
}

bool LogChain::goes_on_with(std::uint64_t log, const LoggedBatch& batch) const {
  // RocksDB leaves a damaged log at the damage. It takes up the next one, if nothing is missing.
  if (damage_ && damage_->place.log == log) return false;
  return expected_seq_ ? batch.first_seq == *expected_seq_ : !damage_;
}

void LogChain::take_damage(LogPlace place, bool was_synced) {
  if (break_) return;
  if (!damage_) damage_ = Damage{place, false};
  damage_->was_synced |= was_synced;
}

void LogChain::take_behind_break(std::uint64_t log, const LoggedBatch& batch) {
  if (!break_) break_ = Break{std::nullopt, false};
  break_->was_synced |= proves_synced(log, batch);
  if (!break_->next) break_->next = batch.mark;
}

// Whether this record behind the break shows that the first one lost had been synced.
bool LogChain::proves_synced(std::uint64_t log, const LoggedBatch& batch) const {
  if (!batch.mark) return true;  // is written at the begin of a run only
  if (last_mark_) {
    return batch.mark->run != last_mark_->run || batch.mark->synced_commit > last_mark_->commit;
  }
  // The loss begins with a log. If that is the log of this record, the record knows where it began.
  return !damage_ || damage_->place.log != log ||
         batch.mark->synced_commit >= batch.mark->first_of_log;
}

std::optional<LogChain::Verdict> LogChain::judge() const {
  if (!break_ && !damage_) return std::nullopt;
  Verdict verdict;
  verdict.synced_lost = (damage_ && damage_->was_synced) || (break_ && break_->was_synced);
  verdict.cut = cut();
  verdict.is_damage = damage_.has_value();
  verdict.is_end = !break_;
  verdict.place = damage_ ? damage_->place : verdict.cut;
  verdict.commits = lost_commits();
  return verdict;
}

LogPlace LogChain::cut() const {
  if (!damage_) return *last_;  // a gap shows only behind a record
  const bool is_in_log_of_last = last_ && last_->log == damage_->place.log;
  return is_in_log_of_last ? *last_ : LogPlace{damage_->place.log, 0};
}

std::string LogChain::lost_commits() const {
  const CommitMark* next = break_ && break_->next ? &*break_->next : nullptr;
  if (last_mark_ && next != nullptr && last_mark_->run == next->run) {
    return fmt::format("commits {} to {} of run {}", last_mark_->commit + 1, next->commit - 1,
                       next->run);
  }
  if (last_mark_) {
    return fmt::format("commits from {} on of run {}", last_mark_->commit + 1, last_mark_->run);
  }
  if (next != nullptr && next->commit > 0)
    return fmt::format("commits up to {} of run {}", next->commit - 1, next->run);
  return "commits whose number nothing tells";
}

}  // namespace harrier
