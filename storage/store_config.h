#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace rocksdb {
class FileSystem;
}

namespace harrier {

// Where and how messages and definitions are kept.
struct StoreConfig {
  std::string data_dir = "data";  // created when absent; one broker at a time

  // Octets of messages collected in memory before they become one file. The write-ahead log that
  // recovery replays is about as long.
  std::uint64_t write_buffer_bytes = 96ULL * 1024 * 1024;

  // Start although something that had been synced cannot be read any more, without it.
  bool accept_data_loss = false;

  // What all files but the lock are read and written through; null: the system's own. For tests,
  // which let it fail.
  std::shared_ptr<rocksdb::FileSystem> file_system{};
};

}  // namespace harrier
