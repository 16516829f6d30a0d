#include "power_cut_fs.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/core.h>

#include "base/assert.h"

namespace harrier::test {

namespace {

namespace fs = std::filesystem;
using rocksdb::IOStatus;

constexpr std::uint64_t kSector = 512;  // what a disk writes whole or not at all

std::string folder_of(const std::string& path) {
  return fs::path(path).parent_path();
}

std::string name_of(const std::string& path) {
  return fs::path(path).filename();
}

// 0 if there is no such file.
std::uint64_t size_of(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  return error ? 0 : size;
}

bool is_manifest(const std::string& path) {
  return name_of(path).starts_with("MANIFEST");
}

std::string octets_from(const std::string& path, std::uint64_t begin) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(begin));
  return {std::istreambuf_iterator<char>(file), {}};
}

void zero(const std::string& path, std::uint64_t begin, std::uint64_t end) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(begin));
  const std::string zeros(end - begin, '\0');
  file.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
  HARRIER_CHECK(file.good());
}

}  // namespace

class PowerCutFs::WritableFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WritableFile(PowerCutFs& owner, std::string path, std::shared_ptr<Node> node,
               std::unique_ptr<rocksdb::FSWritableFile>&& file)
      : FSWritableFileOwnerWrapper(std::move(file)),
        owner_(owner),
        path_(std::move(path)),
        node_(std::move(node)) {}

  IOStatus Append(const rocksdb::Slice& octets, const Options& options, Debug* debug) override {
    return owner_.append(*node_, path_, {octets.data(), octets.size()}, *target(), options, debug);
  }

  IOStatus Append(const rocksdb::Slice& octets, const Options& options,
                  const rocksdb::DataVerificationInfo& /*checks*/, Debug* debug) override {
    return Append(octets, options, debug);
  }

  IOStatus Truncate(std::uint64_t size, const Options& options, Debug* debug) override {
    return owner_.truncate(node_, path_, size, *target(), options, debug);
  }

  IOStatus Sync(const Options& /*options*/, Debug* /*debug*/) override {
    return owner_.sync(*node_, path_);
  }

  IOStatus Fsync(const Options& /*options*/, Debug* /*debug*/) override {
    return owner_.sync(*node_, path_);
  }

  // Neither promises anything.
  IOStatus RangeSync(std::uint64_t, std::uint64_t, const Options&, Debug*) override {
    return IOStatus::OK();
  }

  void PrepareWrite(std::size_t, std::size_t, const Options&, Debug*) override {}

  IOStatus Allocate(std::uint64_t, std::uint64_t, const Options&, Debug*) override {
    return IOStatus::OK();
  }

 private:
  PowerCutFs& owner_;
  const std::string path_;
  const std::shared_ptr<Node> node_;
};

class PowerCutFs::SequentialFile final : public rocksdb::FSSequentialFileOwnerWrapper {
 public:
  SequentialFile(PowerCutFs& owner, std::string path,
                 std::unique_ptr<rocksdb::FSSequentialFile>&& file)
      : FSSequentialFileOwnerWrapper(std::move(file)), owner_(owner), path_(std::move(path)) {}

  IOStatus Read(std::size_t size, const Options& options, rocksdb::Slice* octets, char* scratch,
                Debug* debug) override {
    if (IOStatus entered = owner_.read(path_); !entered.ok()) return entered;
    return FSSequentialFileOwnerWrapper::Read(size, options, octets, scratch, debug);
  }

 private:
  PowerCutFs& owner_;
  const std::string path_;
};

class PowerCutFs::RandomAccessFile final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  RandomAccessFile(PowerCutFs& owner, std::string path,
                   std::unique_ptr<rocksdb::FSRandomAccessFile>&& file)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), owner_(owner), path_(std::move(path)) {}

  IOStatus Read(std::uint64_t offset, std::size_t size, const Options& options,
                rocksdb::Slice* octets, char* scratch, Debug* debug) const override {
    if (IOStatus entered = owner_.read(path_); !entered.ok()) return entered;
    return FSRandomAccessFileOwnerWrapper::Read(offset, size, options, octets, scratch, debug);
  }

 private:
  PowerCutFs& owner_;
  const std::string path_;
};

class PowerCutFs::Directory final : public rocksdb::FSDirectoryWrapper {
 public:
  Directory(PowerCutFs& owner, std::string path, std::unique_ptr<rocksdb::FSDirectory>&& directory)
      : FSDirectoryWrapper(std::move(directory)), owner_(owner), path_(std::move(path)) {}

  IOStatus Fsync(const Options& /*options*/, Debug* /*debug*/) override {
    return owner_.sync_directory(path_);
  }

  IOStatus FsyncWithDirOptions(const Options& /*options*/, Debug* /*debug*/,
                               const rocksdb::DirFsyncOptions& /*how*/) override {
    return owner_.sync_directory(path_);
  }

 private:
  PowerCutFs& owner_;
  const std::string path_;
};

PowerCutFs::PowerCutFs(std::string graveyard, DirectoryRule rule)
    : FileSystemWrapper(rocksdb::FileSystem::Default()),
      graveyard_(std::move(graveyard)),
      rule_(rule) {}

void PowerCutFs::cut_at(const PowerCut& cut) {
  const std::lock_guard lock(mutex_);
  cut_ = cut;
}

void PowerCutFs::freeze() {
  freeze(Lock(mutex_));
}

void PowerCutFs::freeze(const Lock& /*lock*/) {
  if (frozen_.exchange(true)) return;
  last_change_ = change_number_;
  power_failed_.notify_all();
}

void PowerCutFs::slow_syncs(std::chrono::microseconds at_most) {
  const std::lock_guard lock(mutex_);
  sync_time_max_ = at_most;
}

void PowerCutFs::fail_with(FileFault fault) {
  const std::lock_guard lock(mutex_);
  failed_ = false;
  fault_ = std::move(fault);
}

void PowerCutFs::limit_space(std::optional<std::uint64_t> octets) {
  const std::lock_guard lock(mutex_);
  free_octets_ = octets;
  ran_full_ = false;
}

// What every operation begins with.
IOStatus PowerCutFs::enter(const Lock& lock, FileOperation operation, const std::string& path) {
  const bool changes = operation != FileOperation::read;
  if (changes && cut_ && cut_->suffix.empty() && cut_->operations-- == 0) freeze(lock);
  if (!fault_ || fault_->operation != operation) return IOStatus::OK();
  const std::string name = name_of(path);
  if (!name.starts_with(fault_->file) && !name.ends_with(fault_->file)) return IOStatus::OK();
  if (fault_->nth > 1) {
    --fault_->nth;
    return IOStatus::OK();
  }
  failed_ = true;
  IOStatus error = fault_->error;
  if (fault_->more-- == 0) fault_.reset();
  return error;
}

void PowerCutFs::note_creation(const std::string& path) {
  if (!cut_ || cut_->suffix.empty() || !path.ends_with(cut_->suffix)) return;
  if (cut_->creations <= 1) {
    cut_->suffix.clear();
  } else {
    --cut_->creations;
  }
}

std::shared_ptr<PowerCutFs::Node> PowerCutFs::node_of(const std::string& path) {
  std::shared_ptr<Node>& node = nodes_[path];
  if (node == nullptr) {  // from before this power-on
    const std::uint64_t size = size_of(path);
    node = std::make_shared<Node>(Node{size, size});
  }
  return node;
}

IOStatus PowerCutFs::append(Node& node, const std::string& path, std::string_view octets,
                            rocksdb::FSWritableFile& file, const Options& options, Debug* debug) {
  const Lock lock(mutex_);
  const bool halves = fault_ && fault_->is_short;
  IOStatus status = enter(lock, FileOperation::append, path);
  if (!status.ok()) octets = octets.substr(0, halves ? octets.size() / 2 : 0);
  if (free_octets_) {
    if (octets.size() > *free_octets_ && status.ok()) {
      status = IOStatus::NoSpace("No space left on device", path);
      status.SetRetryable(true);  // as RocksDB's own file system does
      ran_full_ = true;
    }
    octets = octets.substr(0, *free_octets_);
    *free_octets_ -= octets.size();
  }
  if (!octets.empty()) {
    const IOStatus written = file.Append({octets.data(), octets.size()}, options, debug);
    HARRIER_CHECK(written.ok());
    if (!frozen_) node.written += octets.size();
  }
  return status;
}

IOStatus PowerCutFs::truncate(const std::shared_ptr<Node>& node, const std::string& path,
                              std::uint64_t size, rocksdb::FSWritableFile& file,
                              const Options& options, Debug* debug) {
  const Lock lock(mutex_);
  if (IOStatus entered = enter(lock, FileOperation::truncate, path); !entered.ok()) return entered;
  Change& noted = changes_.emplace_back();
  noted.kind = Change::Kind::truncate;
  noted.number = ++change_number_;
  noted.path = path;
  noted.node = node;
  noted.left = size;
  noted.tail = octets_from(path, size);
  noted.before = *node;
  if (!frozen_) *node = {std::min(node->written, size), std::min(node->synced, size)};
  return file.Truncate(size, options, debug);
}

// The time a sync takes. What is written meanwhile is not part of it.
void PowerCutFs::await_device(Lock& lock) {
  if (sync_time_max_.count() == 0) return;
  const auto most = static_cast<std::uint64_t>(sync_time_max_.count());
  const std::chrono::microseconds time(sync_time_() % (most + 1));
  power_failed_.wait_for(lock, time, [this] { return frozen_.load(); });
}

IOStatus PowerCutFs::read(const std::string& path) {
  return enter(Lock(mutex_), FileOperation::read, path);
}

IOStatus PowerCutFs::sync(Node& node, const std::string& path) {
  Lock lock(mutex_);
  // Nothing is written, so nothing can fail.
  const bool is_idle =
      node.written == node.synced &&
      std::ranges::none_of(changes_, [&](const Change& change) { return change.path == path; });
  if (!is_idle) {
    if (IOStatus entered = enter(lock, FileOperation::sync, path); !entered.ok()) return entered;
  }
  const std::uint64_t written = node.written;
  const std::uint64_t last_change = change_number_;
  await_device(lock);
  if (frozen_ || (lies_ && path.ends_with(".log"))) return IOStatus::OK();
  node.synced = std::max(node.synced, std::min(written, node.written));
  keep_changes([&](const Change& change) {
    return change.number <= last_change &&
           (rule_ == DirectoryRule::journal ||
            (change.path == path &&
             (change.kind == Change::Kind::create || change.kind == Change::Kind::truncate)));
  });
  return IOStatus::OK();
}

IOStatus PowerCutFs::sync_directory(const std::string& path) {
  Lock lock(mutex_);
  if (IOStatus entered = enter(lock, FileOperation::sync_directory, path); !entered.ok())
    return entered;
  const std::uint64_t last_change = change_number_;
  await_device(lock);
  if (frozen_) return IOStatus::OK();
  keep_changes([&](const Change& change) {
    return change.number <= last_change &&
           (rule_ == DirectoryRule::journal ||
            (folder_of(change.path) == path && change.kind != Change::Kind::truncate));
  });
  return IOStatus::OK();
}

// Notes a change that is about to happen, and saves what `path` is now.
void PowerCutFs::change(Change::Kind kind, const std::string& path, const std::string& from) {
  Change& noted = changes_.emplace_back();
  noted.kind = kind;
  noted.number = ++change_number_;
  noted.path = path;
  noted.from = from;
  if (!fs::exists(path)) return;
  noted.node = node_of(path);
  noted.grave = bury(path);
}

std::string PowerCutFs::bury(const std::string& path) {
  std::string grave = fmt::format("{}/{}", graveyard_, change_number_);
  fs::create_hard_link(path, grave);
  return grave;
}

template <class Predicate>
void PowerCutFs::keep_changes(const Predicate& is_kept) {
  std::erase_if(changes_, [&](const Change& change) {
    if (!is_kept(change)) return false;
    if (!change.grave.empty()) fs::remove(change.grave);
    return true;
  });
}

IOStatus PowerCutFs::NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                       Debug* debug) {
  std::unique_ptr<rocksdb::FSSequentialFile> opened;
  IOStatus status = target()->NewSequentialFile(path, options, &opened, debug);
  if (status.ok()) *file = std::make_unique<SequentialFile>(*this, path, std::move(opened));
  return status;
}

IOStatus PowerCutFs::NewRandomAccessFile(const std::string& path,
                                         const rocksdb::FileOptions& options,
                                         std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                                         Debug* debug) {
  std::unique_ptr<rocksdb::FSRandomAccessFile> opened;
  IOStatus status = target()->NewRandomAccessFile(path, options, &opened, debug);
  if (status.ok()) *file = std::make_unique<RandomAccessFile>(*this, path, std::move(opened));
  return status;
}

IOStatus PowerCutFs::NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                     std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* debug) {
  const Lock lock(mutex_);
  if (IOStatus entered = enter(lock, FileOperation::create, path); !entered.ok()) return entered;
  if (fs::exists(path)) {  // its octets are another file from now on
    change(Change::Kind::remove, path);
    fs::remove(path);
  }
  change(Change::Kind::create, path);
  std::unique_ptr<rocksdb::FSWritableFile> opened;
  IOStatus status = target()->NewWritableFile(path, options, &opened, debug);
  if (!status.ok()) return status;
  nodes_[path] = std::make_shared<Node>();
  note_creation(path);
  *file = std::make_unique<WritableFile>(*this, path, nodes_[path], std::move(opened));
  return status;
}

IOStatus PowerCutFs::ReopenWritableFile(const std::string& path,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSWritableFile>* file,
                                        Debug* debug) {
  const Lock lock(mutex_);
  if (IOStatus entered = enter(lock, FileOperation::create, path); !entered.ok()) return entered;
  if (!fs::exists(path)) {
    change(Change::Kind::create, path);
    nodes_[path] = std::make_shared<Node>();
  }
  std::unique_ptr<rocksdb::FSWritableFile> opened;
  IOStatus status = target()->ReopenWritableFile(path, options, &opened, debug);
  if (!status.ok()) return status;
  *file = std::make_unique<WritableFile>(*this, path, node_of(path), std::move(opened));
  return status;
}

IOStatus PowerCutFs::ReuseWritableFile(const std::string& /*path*/, const std::string& /*old*/,
                                       const rocksdb::FileOptions& /*options*/,
                                       std::unique_ptr<rocksdb::FSWritableFile>* /*file*/,
                                       Debug* /*debug*/) {
  return IOStatus::NotSupported("a file written over");
}

IOStatus PowerCutFs::NewDirectory(const std::string& path, const Options& options,
                                  std::unique_ptr<rocksdb::FSDirectory>* directory, Debug* debug) {
  std::unique_ptr<rocksdb::FSDirectory> opened;
  IOStatus status = target()->NewDirectory(path, options, &opened, debug);
  if (status.ok()) *directory = std::make_unique<Directory>(*this, path, std::move(opened));
  return status;
}

IOStatus PowerCutFs::CreateDirIfMissing(const std::string& path, const Options& options,
                                        Debug* debug) {
  const Lock lock(mutex_);
  if (IOStatus entered = enter(lock, FileOperation::create, path); !entered.ok()) return entered;
  if (frozen_ && !fs::exists(path)) change(Change::Kind::create, path);
  return target()->CreateDirIfMissing(path, options, debug);
}

IOStatus PowerCutFs::DeleteFile(const std::string& path, const Options& options, Debug* debug) {
  const Lock lock(mutex_);
  if (IOStatus entered = enter(lock, FileOperation::remove, path); !entered.ok()) return entered;
  if (!fs::exists(path)) return target()->DeleteFile(path, options, debug);
  if (free_octets_) *free_octets_ += size_of(path);
  change(Change::Kind::remove, path);
  nodes_.erase(path);
  return target()->DeleteFile(path, options, debug);
}

IOStatus PowerCutFs::RenameFile(const std::string& from, const std::string& to,
                                const Options& options, Debug* debug) {
  const Lock lock(mutex_);
  if (IOStatus entered = enter(lock, FileOperation::rename, to); !entered.ok()) return entered;
  change(Change::Kind::rename, to, from);
  nodes_[to] = node_of(from);
  nodes_.erase(from);
  return target()->RenameFile(from, to, options, debug);
}

IOStatus PowerCutFs::LinkFile(const std::string& from, const std::string& to,
                              const Options& options, Debug* debug) {
  const Lock lock(mutex_);
  if (IOStatus entered = enter(lock, FileOperation::create, to); !entered.ok()) return entered;
  change(Change::Kind::create, to);
  nodes_[to] = node_of(from);
  return target()->LinkFile(from, to, options, debug);
}

IOStatus PowerCutFs::GetFreeSpace(const std::string& path, const Options& options,
                                  std::uint64_t* octets, Debug* debug) {
  const std::lock_guard lock(mutex_);
  if (!free_octets_) return target()->GetFreeSpace(path, options, octets, debug);
  *octets = *free_octets_;
  return IOStatus::OK();
}

void PowerCutFs::kill_process() {
  HARRIER_CHECK(frozen_);
  roll_back();
  cut_.reset();
  fault_.reset();
  frozen_ = false;
}

// Undoes what happened after the freeze.
void PowerCutFs::roll_back() {
  while (!changes_.empty() && changes_.back().number > last_change_) {
    undo(changes_.back());
    changes_.pop_back();
  }
  for (const auto& [path, node] : nodes_) {
    if (size_of(path) > node->written) fs::resize_file(path, node->written);
  }
}

std::string PowerCutFs::cut_power(std::mt19937_64& random, const CutStyle& style) {
  kill_process();
  std::string report;
  lose_changes(random, report);
  lose_octets(random, style, report);
  nodes_.clear();
  return report;
}

void PowerCutFs::lose_changes(std::mt19937_64& random, std::string& report) {
  // None, all, or a part.
  const std::uint64_t mood = random() % 3;
  const std::size_t journaled = mood == 0   ? changes_.size()
                                : mood == 1 ? 0
                                            : random() % (changes_.size() + 1);
  std::set<std::string> kept;  // a change that is kept implies the earlier ones of the same file
  while (!changes_.empty()) {
    const Change change = std::move(changes_.back());
    changes_.pop_back();
    const bool strict_keeps = kept.contains(change.path) ||
                              (!change.from.empty() && kept.contains(change.from)) || mood == 0 ||
                              (mood == 2 && random() % 2 == 0);
    if (rule_ == DirectoryRule::journal ? changes_.size() < journaled : strict_keeps) {
      kept.insert(change.path);
      if (!change.from.empty()) kept.insert(change.from);
      if (!change.grave.empty()) fs::remove(change.grave);
      continue;
    }
    undo(change);
    constexpr std::string_view kNames[] = {"creation", "renaming", "removal", "cut"};
    report += fmt::format("  {}: {} undone\n", name_of(change.path),
                          kNames[static_cast<std::size_t>(change.kind)]);
  }
}

void PowerCutFs::undo(const Change& change) {
  if (change.kind == Change::Kind::truncate) {
    const auto file = nodes_.find(change.path);
    if (file == nodes_.end() || file->second != change.node) return;  // removed for good
    fs::resize_file(change.path, change.left);
    std::ofstream(change.path, std::ios::binary | std::ios::app) << change.tail;
    if (change.number <= last_change_) *change.node = change.before;
    return;
  }
  if (change.kind == Change::Kind::create) {
    nodes_.erase(change.path);
    fs::remove_all(change.path);  // a directory or a file
  }
  if (change.kind == Change::Kind::rename) {
    nodes_[change.from] = node_of(change.path);
    nodes_.erase(change.path);
    fs::rename(change.path, change.from);
  }
  if (change.grave.empty()) return;
  fs::rename(change.grave, change.path);
  nodes_[change.path] = change.node;
}

void PowerCutFs::lose_octets(std::mt19937_64& random, const CutStyle& style, std::string& report) {
  enum Fate : std::uint8_t {
    keep,
    lose,
    prefix,
    zero_sector,
    torn
  };

  constexpr std::uint64_t kFates = 5;

  // Often all files have the same fate; often the newest keeps what all older ones lose.
  const std::uint64_t mood = random() % 4;
  const auto common = static_cast<Fate>(random() % kFates);
  std::string newest;
  for (const auto& [path, node] : nodes_) {
    if (path.ends_with(".log")) newest = std::max(newest, path);
  }
  for (const auto& [path, node] : nodes_) {
    const std::uint64_t size = std::min(node->written, size_of(path));
    const std::uint64_t synced = std::min(node->synced, size);
    const std::uint64_t tail = size - synced;
    if (tail == 0) continue;
    auto fate = mood == 0   ? common
                : mood == 1 ? (path == newest ? keep : lose)
                            : static_cast<Fate>(random() % kFates);
    if (is_manifest(path) && !style.damages_manifest && fate > prefix) fate = prefix;
    std::uint64_t left = size;
    std::uint64_t zeroed = 0;
    if (fate == lose) left = synced;
    if (fate == prefix) left = synced + random() % (tail + 1);
    if (fate == zero_sector) {
      const std::uint64_t begin = std::max(synced, (synced + random() % tail) / kSector * kSector);
      left = std::min(size, (begin / kSector + 1) * kSector);
      zeroed = left - begin;
      zero(path, begin, left);
    }
    if (fate == torn) {
      for (std::uint64_t begin = synced; begin < size;) {
        const std::uint64_t end = std::min(size, (begin / kSector + 1) * kSector);
        if (random() % 4 == 0) {
          zero(path, begin, end);
          zeroed += end - begin;
        }
        begin = end;
      }
    }
    if (left < size) fs::resize_file(path, left);
    report += fmt::format("  {}: written {}, synced {}, left {}, of them zeroed {}\n",
                          name_of(path), size, synced, left, zeroed);
  }
}

}  // namespace harrier::test
