#pragma once

#include <atomic>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "broker/admin/admin_commands.h"
#include "storage/store.h"

namespace harrier {

// Copies of the store, one at a time, while clients go on. Within a file system the store makes
// hard links, which takes milliseconds. To another one, octets have to be copied: the links go into
// the data directory first, and a thread copies from there, so that commits need not wait for it.
class Backups {
 public:
  // Removes what a killed broker has left. The caller holds the lock of the data directory.
  Backups(Store& store, std::string data_dir);
  ~Backups();
  Backups(const Backups&) = delete;
  Backups& operator=(const Backups&) = delete;

  // The admin thread. `directory` must be absolute and empty or not there. The reply has it, with
  // "files", "octets" and "seconds".
  void start(const std::string& directory, AdminDone done);
  // Once the store has stopped: gives up a copy that still goes on, and tells. Idempotent.
  void stop();

 private:
  struct Running;
  bool needs_links_first(const std::string& directory) const;
  void linked(Running running, const Result<void, StoreError>& result);
  void end(Running& running, std::string_view error);

  Store& store_;
  const std::string data_dir_;
  const std::string links_;        // directory inside of data_dir_
  std::atomic<bool> busy_{false};  // set by start(), cleared by whoever ends the copy
  std::jthread copier_;            // started on the store's thread
};

}  // namespace harrier
