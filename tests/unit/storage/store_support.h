#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "storage/rocks_store.h"
#include "storage/store.h"

namespace harrier::test {

// A directory that is gone at the end of the test.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

  // Octets in all files whose name ends with `suffix`.
  std::uintmax_t bytes_of(std::string_view suffix) const;

 private:
  std::string path_;
};

// The listener of one submitter: remembers what it was told, lets a test wait for it.
class Durability {
 public:
  StoreListener listener();

  // Blocks until `ticket` is durable or the store failed.
  void await(Ticket ticket) const;

  Ticket durable() const { return durable_.load(); }

  int failures() const { return failures_.load(); }

 private:
  static constexpr Ticket kFailed = UINT64_MAX;

  std::atomic<Ticket> durable_{0};
  std::atomic<Ticket> signal_{0};
  std::atomic<int> failures_{0};
};

MessageRef text_message(std::string_view body, std::string_view routing_key = "key");
MessageRef transient_message(std::string_view body);

// All that a store gives back, in a form that can be compared and printed.
struct Content {
  struct Entry {
    std::string message;  // envelope, properties and body in one
    std::int64_t enqueued_at = 0;
    std::int64_t expires_at = 0;
    bool redelivered = false;
    std::uint64_t body_bytes = 0;

    friend bool operator==(const Entry&, const Entry&) = default;
  };

  std::map<std::string, std::string> records;
  std::map<std::uint32_t, Sequence> first_seq;
  std::map<std::uint32_t, Sequence> next_seq;
  std::map<std::uint32_t, Tally> tally;
  std::map<std::pair<std::uint32_t, Sequence>, Entry> entries;
  bool ascending = true;  // within each lane

  std::vector<Sequence> sequences(LaneId lane) const;

  // Of the entries that were scanned.
  Tally counted(std::uint32_t lane) const;

  static Entry entry(const StoredEntry& stored);
};

// Recovers `store`, keeping `live`.
Content read_all(Store& store, const std::vector<LaneId>& live);

// Reads a page and waits for it.
LanePage read_page(Store& store, const PageRequest& request);

std::vector<Sequence> sequences_in(const LanePage& page);

// Fills batches and remembers what the puts added, so that a test can settle by sequence alone.
class Accounts {
 public:
  void put(StoreBatch& batch, LaneId lane, Sequence seq, const MessageRef& message,
           Timestamp enqueued_at = kNoTime, Timestamp expires_at = kNoTime);
  void settle(StoreBatch& batch, LaneId lane, Sequence seq);
  void settle_range(StoreBatch& batch, LaneId lane, Sequence begin, Sequence end);
  void drop(StoreBatch& batch, LaneId lane);

  // Entries that were there before the test put anything.
  void take_over(const Content& content);

  Tally left(LaneId lane) const;

 private:
  Tally take(LaneId lane, Sequence begin, Sequence end);

  std::map<LaneId, std::map<Sequence, Tally>> lanes_;
};

// The same of a store that may be damaged.
Result<Content, StoreError> try_read_all(Store& store, const std::vector<LaneId>& live);

// Opens a store or fails the test.
std::unique_ptr<Store> open_store(const StoreConfig& config);

// Copies the store as an administrator would, and waits. The error's text, empty if it went well.
std::string copy_store(Store& store, const std::string& directory);

// Epochs so small that a test crosses many.
StoreConfig small_epochs(const std::string& path);

}  // namespace harrier::test
