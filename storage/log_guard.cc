#include "storage/log_guard.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "base/log.h"
#include "storage/known_logs.h"
#include "storage/log_chain.h"
#include "storage/manifest.h"

namespace harrier {

namespace {

namespace fs = std::filesystem;

constexpr Logger kLog("storage");

// One look at a database: first everything is judged, then things are changed.
class Guard {
 public:
  Guard(const Disk& disk, const std::string& data_dir, OnDamage on_damage)
      : disk_(disk), data_dir_(data_dir), db_(data_dir + "/db"), on_damage_(on_damage) {}

  Result<GuardFindings, StoreError> run() {
    if (auto listed = list_files(); !listed) return fail(listed.error());
    if (auto done = judge_manifest(); !done) return fail(done.error());
    if (auto done = judge_logs(); !done) return fail(done.error());
    if (on_damage_ == OnDamage::report) return findings_;
    if (!findings_.lost.empty() && on_damage_ == OnDamage::refuse) return fail(refusal());
    for (const std::string& line : findings_.lost)
      kLog.warning("accepted: {}", line);
    for (const std::string& line : findings_.notes)
      kLog.warning("{}", line);
    if (auto done = mend(); !done) return fail(done.error());
    return findings_;
  }

 private:
  Result<void, StoreError> list_files();
  Result<void, StoreError> judge_manifest();
  void judge_manifest_end(const std::string& octets, const Manifest& manifest);
  Result<void, StoreError> judge_logs();
  void judge_missing_logs();
  void describe(const LogChain::Verdict& verdict);
  StoreError refusal() const;

  Result<void, StoreError> mend();
  Result<void, StoreError> mend_manifest();
  Result<void, StoreError> mend_known_logs();
  Result<void, StoreError> mend_logs();
  Result<void, StoreError> set_aside(const std::string& path, bool keeps_original);

  std::string path_of(std::uint64_t log) const { return fmt::format("{}/{:06}.log", db_, log); }

  const Disk& disk_;
  const std::string data_dir_;
  const std::string db_;
  GuardFindings findings_;

  // What there is.
  std::map<std::uint64_t, std::uint64_t> logs_;  // with their sizes
  KnownLogs known_logs_;
  std::string newest_manifest_;
  std::uint64_t first_log_needed_ = 0;

  // What is to be done.
  std::string manifest_path_;
  std::optional<std::uint64_t> manifest_size_;
  std::optional<LogPlace> cut_;
  std::vector<LogPlace> idle_ends_;

  const OnDamage on_damage_;
  bool has_tables_ = false;
  bool replace_current_ = false;
  bool keep_damaged_manifest_ = false;
  bool keep_cut_part_ = false;
};

Result<void, StoreError> Guard::list_files() {
  if (!disk_.exists(db_)) return {};
  const auto names = disk_.names_in(db_);
  if (!names) return fail(names.error());
  for (const std::string& name : *names) {
    if (const std::uint64_t log = log_number(name)) {
      const auto size = disk_.size_of(path_of(log));
      if (!size) return fail(size.error());
      logs_[log] = *size;
    }
    has_tables_ |= name.ends_with(".sst");
    // Their numbers have six digits or more: a longer name is newer.
    if (manifest_name(name + "\n") &&
        std::pair(name.size(), name) > std::pair(newest_manifest_.size(), newest_manifest_)) {
      newest_manifest_ = name;
    }
  }
  auto known = read_known_logs(disk_, data_dir_);
  if (known) {
    known_logs_ = *std::move(known);
  } else if (known.error().kind == StoreError::Kind::corruption) {
    findings_.lost.push_back(known.error().detail);
  } else {
    return fail(known.error());
  }
  return {};
}

Result<void, StoreError> Guard::judge_manifest() {
  const std::string current_path = db_ + "/CURRENT";
  std::optional<std::string> name;
  if (disk_.exists(current_path)) {
    const auto current = disk_.read(current_path);
    if (!current) return fail(current.error());
    name = manifest_name(*current);
  } else {
    const auto is_filled = [](const auto& log) { return log.second > 0; };
    const bool is_new = !has_tables_ && std::none_of(logs_.begin(), logs_.end(), is_filled);
    if (is_new) return {};
  }
  if (!name || !disk_.exists(db_ + "/" + *name)) {
    findings_.lost.push_back(fmt::format("{} does not name the database's MANIFEST", current_path));
    replace_current_ = true;
    name = newest_manifest_;
    if (name->empty()) return {};
  }
  manifest_path_ = db_ + "/" + *name;
  const auto octets = disk_.read(manifest_path_);
  if (!octets) return fail(octets.error());
  const Manifest manifest = read_manifest(*octets);
  first_log_needed_ = manifest.first_log_needed;
  judge_manifest_end(*octets, manifest);
  return {};
}

void Guard::judge_manifest_end(const std::string& octets, const Manifest& manifest) {
  if (manifest.intact_bytes == octets.size()) return;
  manifest_size_ = manifest.intact_bytes;
  if (manifest.intact_bytes == 0) {
    findings_.lost.push_back(fmt::format("{} is damaged from its begin on", manifest_path_));
    return;
  }
  if (!manifest.damage) return;  // zeros
  keep_damaged_manifest_ = true;
  const std::uint64_t offset = manifest.damage->offset;
  if (manifest.damage->is_followed || manifest.damage->is_one_bit_off) {
    findings_.lost.push_back(fmt::format("{} is damaged at octet {}, which is no interrupted write",
                                         manifest_path_, offset));
  } else {
    findings_.notes.push_back(
        fmt::format("{} ends in an interrupted write at octet {}, which is "
                    "cut off",
                    manifest_path_, offset));
  }
}

Result<void, StoreError> Guard::judge_logs() {
  judge_missing_logs();
  LogChain chain;
  for (const auto& [log, size] : logs_) {
    if (log < first_log_needed_) continue;
    const auto octets = disk_.read(path_of(log));
    if (!octets) return fail(octets.error());
    const auto known = known_logs_.find(log);
    chain.add(log, known == known_logs_.end() ? 0 : known->second, *octets);
  }
  idle_ends_ = chain.idle_ends();
  if (const auto verdict = chain.judge()) describe(*verdict);
  return {};
}

void Guard::judge_missing_logs() {
  for (const auto& [log, synced_bytes] : known_logs_) {
    if (log < first_log_needed_ || logs_.contains(log)) continue;
    findings_.lost.push_back(fmt::format(
        "{} is missing, and with it what was committed while it was written", path_of(log)));
  }
}

void Guard::describe(const LogChain::Verdict& verdict) {
  cut_ = verdict.cut;
  keep_cut_part_ = verdict.synced_lost;
  const std::string place =
      fmt::format("{} {} octet {}", path_of(verdict.place.log),
                  verdict.is_damage ? "is damaged at" : "has a gap after", verdict.place.offset);
  if (verdict.synced_lost) {
    findings_.lost.push_back(
        fmt::format("{}: {}, which had been synced, are lost", place, verdict.commits));
  } else if (verdict.is_end) {
    findings_.notes.push_back(
        fmt::format("{} ends in an interrupted write at octet {}, which is cut off",
                    path_of(verdict.place.log), verdict.place.offset));
  } else {
    findings_.notes.push_back(fmt::format(
        "{}: {} and all later ones are cut off, which were never synced", place, verdict.commits));
  }
}

StoreError Guard::refusal() const {
  const std::size_t more = findings_.lost.size() - 1;
  return {
      StoreError::Kind::corruption,
      fmt::format("{}{}; restore a backup of {}, or start with --accept-data-loss to go on with "
                  "what can be read",
                  findings_.lost.front(),
                  more == 0 ? "" : fmt::format(" ({} more, see harrierd --check-data)", more),
                  data_dir_)};
}

Result<void, StoreError> Guard::mend() {
  if (auto mended = mend_manifest(); !mended) return mended;
  if (auto mended = mend_known_logs(); !mended) return mended;
  if (auto mended = mend_logs(); !mended) return mended;
  // What is replayed must not be lost later, when a new run has built on it.
  for (const auto& [log, size] : logs_) {
    if (!disk_.exists(path_of(log))) continue;  // set aside
    if (auto synced = disk_.sync(path_of(log)); !synced) return synced;
  }
  return disk_.exists(db_) ? disk_.sync_directory(db_) : Result<void, StoreError>();
}

Result<void, StoreError> Guard::mend_manifest() {
  if (manifest_size_) {
    if (keep_damaged_manifest_) {
      if (auto kept = set_aside(manifest_path_, true); !kept) return kept;
    }
    if (auto cut = disk_.truncate(manifest_path_, *manifest_size_); !cut) return cut;
  }
  if (!replace_current_ || manifest_path_.empty()) return {};
  return disk_.replace(db_ + "/CURRENT", fs::path(manifest_path_).filename().native() + "\n");
}

// First of all, so that nothing is missed that was set aside on purpose.
Result<void, StoreError> Guard::mend_known_logs() {
  KnownLogs known = known_logs_;
  for (const LogPlace& end : idle_ends_) {
    const auto at = known.find(end.log);
    if (at != known.end()) at->second = std::min(at->second, end.offset);
  }
  if (cut_) {
    known.erase(known.upper_bound(cut_->log), known.end());
    const auto at = known.find(cut_->log);
    if (at != known.end()) at->second = std::min(at->second, cut_->offset);
  }
  if (!findings_.lost.empty()) known.clear();
  return known == known_logs_ && findings_.lost.empty() ? Result<void, StoreError>()
                                                        : write_known_logs(disk_, data_dir_, known);
}

// From the last log to the first: interrupted at any point, the gap is still there.
Result<void, StoreError> Guard::mend_logs() {
  if (cut_) {
    for (auto log = logs_.rbegin(); log != logs_.rend() && log->first > cut_->log; ++log) {
      if (log->second == 0) continue;
      if (auto moved = set_aside(path_of(log->first), false); !moved) return moved;
    }
    const std::string path = path_of(cut_->log);
    if (keep_cut_part_) {
      if (auto kept = set_aside(path, true); !kept) return kept;
    }
    if (auto cut = disk_.truncate(path, cut_->offset); !cut) return cut;
  }
  for (const LogPlace& end : idle_ends_) {
    if (cut_ && end.log >= cut_->log) continue;
    if (auto cut = disk_.truncate(path_of(end.log), end.offset); !cut) return cut;
  }
  return {};
}

// Copies or renames a file to a name that RocksDB ignores.
Result<void, StoreError> Guard::set_aside(const std::string& path, bool keeps_original) {
  std::string aside = path + ".damaged";
  for (int number = 2; disk_.exists(aside); ++number)
    aside = fmt::format("{}.damaged{}", path, number);
  if (keeps_original) {
    const auto octets = disk_.read(path);
    if (!octets) return fail(octets.error());
    return disk_.replace(aside, *octets);
  }
  if (auto synced = disk_.sync(path); !synced) return synced;
  if (auto moved = disk_.move(path, aside); !moved) return moved;
  return disk_.sync_directory(db_);
}

}  // namespace

Result<GuardFindings, StoreError> guard_database(const Disk& disk, const std::string& data_dir,
                                                 OnDamage on_damage) {
  return Guard(disk, data_dir, on_damage).run();
}

}  // namespace harrier
