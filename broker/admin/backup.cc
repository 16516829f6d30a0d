#include "broker/admin/backup.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/core.h>

#include "broker/admin/copy_directory.h"

namespace harrier {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

constexpr std::string_view kLinks = "backup.links";

std::optional<dev_t> file_system_of(const std::string& path) {
  struct stat found {};

  if (::stat(path.c_str(), &found) != 0) return std::nullopt;
  return found.st_dev;
}

// Why a copy must not go there; what else may be wrong, copying finds out.
std::optional<std::string> objection(const std::string& directory, const std::string& data_dir) {
  if (directory.empty()) return "backup needs a \"directory\"";
  if (!fs::path(directory).is_absolute()) {
    return fmt::format("backup needs an absolute path, not {}", directory);
  }
  std::error_code error;
  const fs::path target = fs::weakly_canonical(directory, error);
  const fs::path source = error ? fs::path() : fs::canonical(data_dir, error);
  if (error) return fmt::format("cannot look at {}: {}", directory, error.message());
  const auto [end, rest] =
      std::mismatch(source.begin(), source.end(), target.begin(), target.end());
  if (end == source.end()) {
    return fmt::format("{} lies in the data directory; name another", directory);
  }
  if (fs::exists(target, error) && !fs::is_empty(target, error)) {
    return fmt::format("cannot copy to {}: {}", directory,
                       error ? error.message() : "it is not empty; name another");
  }
  return std::nullopt;
}

AdminReply describe(const std::string& directory, double seconds) {
  std::uint64_t files = 0;
  std::uint64_t octets = 0;
  std::error_code error;
  auto entry = fs::recursive_directory_iterator(directory, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (!entry->is_regular_file(error)) continue;
    ++files;
    octets += entry->file_size(error);
  }
  if (error) {
    return fail(fmt::format("the copy in {} is gone already: {}", directory, error.message()));
  }
  return AdminFields{
      {"directory", directory}, {"files", files}, {"octets", octets}, {"seconds", seconds}};
}

void remove(const std::string& directory) {
  std::error_code ignored;
  fs::remove_all(directory, ignored);
}

}  // namespace

struct Backups::Running {
  std::string directory;
  AdminDone done;
  bool by_links;  // what the store makes is not the copy yet
  SteadyClock::time_point begin = SteadyClock::now();
};

Backups::Backups(Store& store, std::string data_dir)
    : store_(store),
      data_dir_(std::move(data_dir)),
      links_(fmt::format("{}/{}", data_dir_, kLinks)) {
  remove(links_);
}

Backups::~Backups() {
  stop();
}

void Backups::start(const std::string& directory, AdminDone done) {
  std::optional<std::string> why = objection(directory, data_dir_);
  if (!why && busy_.exchange(true)) why = "another backup is being made; try later";
  if (why) return done([why = *why]() -> AdminReply { return fail(why); });
  const bool by_links = needs_links_first(directory);
  // Shared, because the store wants a callable that can be copied.
  const auto running = std::make_shared<Running>(Running{directory, std::move(done), by_links});
  store_.copy_to(by_links ? links_ : directory,
                 [this, running](const Result<void, StoreError>& result) {
                   linked(std::move(*running), result);
                 });
}

void Backups::stop() {
  if (!copier_.joinable()) return;
  copier_.request_stop();
  copier_.join();
}

// Where links cannot lead to, unless the database is not where its links would be.
bool Backups::needs_links_first(const std::string& directory) const {
  fs::path there = fs::path(directory).lexically_normal();
  while (!file_system_of(there) && there.has_relative_path())
    there = there.parent_path();
  const auto here = file_system_of(data_dir_);
  return file_system_of(there) != here && file_system_of(data_dir_ + "/db") == here;
}

// On the store's thread.
void Backups::linked(Running running, const Result<void, StoreError>& result) {
  if (!result) return end(running, result.error().detail);
  if (!running.by_links) return end(running, {});
  copier_ = std::jthread([this, running = std::move(running)](const std::stop_token& stop) mutable {
    const auto copied = copy_directory(links_, running.directory, stop);
    remove(links_);
    end(running, copied ? std::string() : copied.error());
  });
}

// No error: it is done.
void Backups::end(Running& running, std::string_view error) {
  const std::chrono::duration<double> took = SteadyClock::now() - running.begin;
  busy_ = false;
  running.done([directory = running.directory, seconds = took.count(),
                why = std::string(error)]() -> AdminReply {
    if (!why.empty()) return fail(why);
    return describe(directory, seconds);
  });
}

// A row of admin_commands.cc.
void run_backup(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  context.backups.start(std::string(request.argument("directory")), std::move(done));
}

}  // namespace harrier
