// Fills a real file system of 64 MiB under a store, frees it, again and again.
//
//   disk_full_mount [--rounds N] [--seed N]
//
// Mounts a tmpfs that only this process sees: as root, or where users may make name spaces. Where
// neither is allowed it says so and ends with 77. Ends with 0 if nothing that was announced was
// lost, nothing was announced while the disk was full, and the store went on each time.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "base/assert.h"
#include "base/log.h"
#include "fault_run.h"
#include "storage/disk_space.h"

namespace {

using namespace harrier;
using namespace harrier::test;

constexpr int kNotAllowed = 77;

bool write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  return file.flush().good();
}

// Mounts of this process concern nobody else from now on. In a new user name space the user has to
// be somebody, or no file can be created.
bool leave_name_space() {
  if (::unshare(CLONE_NEWNS) == 0) return true;
  const uid_t user = ::getuid();
  const gid_t group = ::getgid();
  return ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
         write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/uid_map", fmt::format("{} {} 1", user, user)) &&
         write_file("/proc/self/gid_map", fmt::format("{} {} 1", group, group));
}

// Everything below the temporary directory is on a small disk from now on, for this process.
bool mount_small_disk(const std::string& path) {
  if (!leave_name_space()) return false;
  ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=64m") != 0) return false;
  return ::setenv("TMPDIR", path.c_str(), 1) == 0;
}

// Takes space until about `left` octets are free. The store may take some meanwhile.
void put_ballast(const std::string& path, std::uint64_t left) {
  const int file = ::open((path + "/ballast").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  HARRIER_CHECK(file >= 0);
  for (;;) {
    const std::uint64_t free = disk_space(path)->free_bytes;
    if (free <= left) break;
    const int failed = ::posix_fallocate(file, 0, static_cast<off_t>(free - left));
    if (failed == 0) break;
    HARRIER_CHECK(failed == ENOSPC);
  }
  ::close(file);
}

void drop_ballast(const std::string& path) {
  ::unlink((path + "/ballast").c_str());
}

bool open(FaultRun& run) {
  const auto opened = run.open();
  if (!opened) fmt::print("the store does not open: {}\n", opened.error().detail);
  if (!opened) return false;
  for (const std::string& line : *opened)
    fmt::print("{}\n", line);
  return opened->empty();
}

// Whether a full disk keeps the store from opening, or not, makes no difference to what it holds.
bool open_on_full_disk(FaultRun& run) {
  const auto opened = run.open();
  if (opened) {
    for (const std::string& line : *opened)
      fmt::print("{}\n", line);
    return opened->empty();
  }
  if (opened.error().kind == StoreError::Kind::no_space) return true;
  fmt::print("not a clear word about the full disk: {}\n", opened.error().detail);
  return false;
}

bool fill_and_free(FaultRun& run, const std::string& disk) {
  if (!open(run)) return false;
  run.submit(run.below(200), 4);
  put_ballast(disk, run.below(600'000));
  run.fill();
  const auto announced = run.announced();
  run.submit(100, 0);
  if (run.announced() != announced) {
    fmt::print("something was announced while the disk was full\n");
    return false;
  }
  if (run.below(3) == 0) {  // a restart on the full disk
    run.kill_process();
    if (!open_on_full_disk(run)) return false;
    run.kill_process();
    drop_ballast(disk);
    return open(run);
  }
  drop_ballast(disk);
  run.await_space();
  run.submit(100, 4);
  run.await_all();
  if (run.failed()) fmt::print("the store gave up: {}\n", run.failure());
  return !run.failed() && run.all_announced();
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t rounds = 20;
  std::uint64_t seed = std::random_device{}();
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    (name == "--rounds" ? rounds : seed) = std::strtoull(argv[i + 1], nullptr, 10);
  }
  configure_logging({.console_level = LogLevel::none, .file_level = LogLevel::none, .file = {}});
  const TempDir temp;
  if (!mount_small_disk(temp.path())) {
    fmt::print("not run: mounting a tmpfs is not allowed here, see disk_full_test\n");
    return kNotAllowed;
  }
  bool is_well = true;
  std::uint64_t confirmed = 0;
  {
    FaultRun run(seed, FaultRun::Disk::real);
    for (std::uint64_t round = 0; is_well && round < rounds; ++round) {
      is_well = fill_and_free(run, temp.path());
      run.kill_process();
    }
    is_well = is_well && open(run);
    confirmed = run.workload().confirmed();
  }
  ::umount(temp.path().c_str());
  fmt::print("{} rounds, seed {}, {} announced and found: {}\n", rounds, seed, confirmed,
             is_well ? "passed" : "FAILED");
  return is_well ? 0 : 1;
}
