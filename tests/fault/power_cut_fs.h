#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <rocksdb/file_system.h>

namespace harrier::test {

// What a file system is asked to do, as far as it can be cut short or fail.
enum class FileOperation {
  create,
  append,
  sync,
  sync_directory,
  rename,
  remove,
  truncate,
  read
};

// What makes a change of a directory (a creation, a renaming, a removal) survive a power cut. That
// a file was cut off survives with the next sync of it, or for journal of anything.
enum class DirectoryRule {
  journal,  // the next sync of anything, as in ext4: changes survive up to some point in time
  strict    // a sync of the directory, for a new file also its own: each survives or not by itself
};

// When the power fails: `operations` after the `creations`-th new file whose name ends with
// `suffix`, or after now when that is empty.
struct PowerCut {
  std::string suffix;
  std::uint64_t creations = 0;
  std::uint64_t operations = 0;
};

// The `nth` such operation on a file whose name begins or ends with `file` fails, and so do `more`
// after it.
struct FileFault {
  FileOperation operation;
  std::string file;
  std::uint64_t nth = 1;
  rocksdb::IOStatus error;
  std::uint64_t more = 0;
  bool is_short = false;  // an append that fails writes half of its octets
};

// What a power cut may do beyond losing the end of a file and parts of it.
struct CutStyle {
  // Zeroes parts of an unsynced end of the MANIFEST. RocksDB refuses to open such a database.
  bool damages_manifest = false;
};

// A file system whose power can be cut. It keeps in mind what was never synced; syncs cost nothing,
// since what matters is only what it says they did. Life: open a store on it, freeze() it at any
// moment or let cut_at() do so, destroy the store, then either cut_power() or, for the death of the
// process alone, kill_process(); then the next store. Thread safe, but for the last two.
//
// What happens after the freeze succeeds and is undone later: nobody hears an error when the power
// fails. What was announced after it does not count.
class PowerCutFs final : public rocksdb::FileSystemWrapper {
 public:
  // `graveyard`: an existing empty directory on the same file system, for what may have to come
  // back.
  PowerCutFs(std::string graveyard, DirectoryRule rule);

  const char* Name() const override { return "PowerCutFs"; }

  void cut_at(const PowerCut& cut);
  // From now on nothing reaches the disk.
  void freeze();

  bool frozen() const { return frozen_.load(); }

  // Makes the directory what is found after the power came back, by chance. Returns what was lost,
  // one line per file. Everything left counts as synced.
  std::string cut_power(std::mt19937_64& random, const CutStyle& style);
  // Makes the directory what it was at the freeze. What was not synced then is not synced now.
  void kill_process();

  // Syncs of logs claim to have worked and did nothing.
  void lie_about_syncs() { lies_ = true; }

  // Syncs take up to this long.
  void slow_syncs(std::chrono::microseconds at_most);

  void fail_with(FileFault fault);

  // Whether the fault struck.
  bool failed() const { return failed_.load(); }

  // From now on there is room for so many octets; removed files make room. None: no limit.
  void limit_space(std::optional<std::uint64_t> octets);

  bool ran_full() const { return ran_full_.load(); }

  using Status = rocksdb::IOStatus;
  using Options = rocksdb::IOOptions;
  using Debug = rocksdb::IODebugContext;

  Status NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSSequentialFile>* file, Debug* debug) override;
  Status NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                             std::unique_ptr<rocksdb::FSRandomAccessFile>* file,
                             Debug* debug) override;
  Status NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                         std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* debug) override;
  Status ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                            std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* debug) override;
  Status ReuseWritableFile(const std::string& path, const std::string& old,
                           const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* debug) override;
  Status NewDirectory(const std::string& path, const Options& options,
                      std::unique_ptr<rocksdb::FSDirectory>* directory, Debug* debug) override;
  // Durable at once.
  Status CreateDirIfMissing(const std::string& path, const Options& options, Debug* debug) override;
  Status DeleteFile(const std::string& path, const Options& options, Debug* debug) override;
  Status RenameFile(const std::string& from, const std::string& to, const Options& options,
                    Debug* debug) override;
  Status GetFreeSpace(const std::string& path, const Options& options, std::uint64_t* octets,
                      Debug* debug) override;
  Status LinkFile(const std::string& from, const std::string& to, const Options& options,
                  Debug* debug) override;

 private:
  class WritableFile;
  class SequentialFile;
  class RandomAccessFile;
  class Directory;

  // The octets of one file, whatever its name is.
  struct Node {
    std::uint64_t written = 0;  // up to the freeze, as the rest
    std::uint64_t synced = 0;
  };

  struct Change {
    enum class Kind {
      create,
      rename,
      remove,
      truncate
    };
    Kind kind;
    std::uint64_t number;
    std::string path;
    std::string from;   // of a renaming
    std::string grave;  // where the file lies that `path` was before; empty: there was none
    std::shared_ptr<Node> node;  // of the file in the grave, or of the one that is cut
    std::uint64_t left = 0;      // of a cut: octets that stay
    std::string tail{};          // and those that go
    Node before{};               // likewise
  };

  using Lock = std::unique_lock<std::mutex>;

  void freeze(const Lock& lock);
  void roll_back();
  Status enter(const Lock& lock, FileOperation operation, const std::string& path);
  Status read(const std::string& path);
  Status append(Node& node, const std::string& path, std::string_view octets,
                rocksdb::FSWritableFile& file, const Options& options, Debug* debug);
  Status truncate(const std::shared_ptr<Node>& node, const std::string& path, std::uint64_t size,
                  rocksdb::FSWritableFile& file, const Options& options, Debug* debug);
  Status sync(Node& node, const std::string& path);
  Status sync_directory(const std::string& path);
  void await_device(Lock& lock);
  void note_creation(const std::string& path);
  std::shared_ptr<Node> node_of(const std::string& path);
  void change(Change::Kind kind, const std::string& path, const std::string& from = {});
  std::string bury(const std::string& path);
  template <class Predicate>
  void keep_changes(const Predicate& is_kept);
  void undo(const Change& change);
  void lose_changes(std::mt19937_64& random, std::string& report);
  void lose_octets(std::mt19937_64& random, const CutStyle& style, std::string& report);

  const std::string graveyard_;
  const DirectoryRule rule_;
  std::atomic<bool> lies_{false};
  std::atomic<bool> frozen_{false};  // stored under mutex_
  std::atomic<bool> failed_{false};
  std::atomic<bool> ran_full_{false};

  std::mutex mutex_;
  std::condition_variable power_failed_;
  std::map<std::string, std::shared_ptr<Node>> nodes_;
  std::deque<Change> changes_;  // not yet durable, in their order
  std::uint64_t change_number_ = 0;
  std::uint64_t last_change_ = 0;  // the last one before the freeze
  std::optional<PowerCut> cut_;
  std::optional<FileFault> fault_;
  std::optional<std::uint64_t> free_octets_;
  std::chrono::microseconds sync_time_max_{0};
  std::minstd_rand sync_time_;
};

}  // namespace harrier::test
