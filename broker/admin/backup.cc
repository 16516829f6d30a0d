// backup: a copy of the store in a directory of its own, while clients go on.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/core.h>

#include "broker/admin/admin_commands.h"

namespace harrier {
namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

// Why a copy must not go there; what else may be wrong the store finds out.
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
  if (end != source.end()) return std::nullopt;
  return fmt::format("{} lies in the data directory; name another", directory);
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

}  // namespace

void run_backup(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  const std::string directory(request.argument("directory"));
  if (const auto why = objection(directory, context.data_dir)) {
    return done([why]() -> AdminReply { return fail(*why); });
  }
  const auto begin = SteadyClock::now();
  // Shared, because the store wants a callable that can be copied.
  const auto told = std::make_shared<AdminDone>(std::move(done));
  context.store.copy_to(directory,
                        [directory, begin, told](const Result<void, StoreError>& copied) {
                          const std::chrono::duration<double> took = SteadyClock::now() - begin;
                          (*told)([directory, took, copied]() -> AdminReply {
                            if (!copied) return fail(copied.error().detail);
                            return describe(directory, took.count());
                          });
                        });
}

}  // namespace harrier
