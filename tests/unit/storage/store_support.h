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

// All that a store gives back, in a form that can be compared and printed.
struct Content {
  struct Entry {
    std::string message;  // envelope, properties and body in one
    std::int64_t enqueued_at;
    std::int64_t expires_at;
    bool redelivered;

    friend bool operator==(const Entry&, const Entry&) = default;
  };

  std::map<std::string, std::string> records;
  std::map<std::uint32_t, Sequence> next_seq;
  std::map<std::pair<std::uint32_t, Sequence>, Entry> entries;
  bool ascending = true;  // within each lane

  std::vector<Sequence> sequences(LaneId lane) const;
};

// Recovers `store`, keeping `live`.
Content read_all(Store& store, const std::vector<LaneId>& live);

// Opens a store or fails the test.
std::unique_ptr<Store> open_store(const StoreConfig& config);

// Epochs so small that a test crosses many.
StoreConfig small_epochs(const std::string& path);

}  // namespace harrier::test
