#include "storage/disk.h"

#include <filesystem>
#include <utility>

#include <rocksdb/file_system.h>

#include "storage/database.h"

namespace harrier {

namespace {

using rocksdb::IOStatus;

const rocksdb::IOOptions kOptions;

StoreError error_of(const IOStatus& status, std::string_view doing, const std::string& path) {
  return store_error(status, std::string(doing) + " " + path);
}

Result<void, StoreError> outcome(const IOStatus& status, std::string_view doing,
                                 const std::string& path) {
  if (!status.ok()) return fail(error_of(status, doing, path));
  return {};
}

std::string parent_of(const std::string& path) {
  return std::filesystem::path(path).parent_path();
}

}  // namespace

Disk::Disk(std::shared_ptr<rocksdb::FileSystem> files)
    : files_(files != nullptr ? std::move(files) : rocksdb::FileSystem::Default()) {}

bool Disk::exists(const std::string& path) const {
  return !files_->FileExists(path, kOptions, nullptr).IsNotFound();
}

Result<std::vector<std::string>, StoreError> Disk::names_in(const std::string& directory) const {
  std::vector<std::string> names;
  const IOStatus listed = files_->GetChildren(directory, kOptions, &names, nullptr);
  if (!listed.ok()) return fail(error_of(listed, "listing", directory));
  return names;
}

Result<std::uint64_t, StoreError> Disk::size_of(const std::string& path) const {
  std::uint64_t size = 0;
  const IOStatus told = files_->GetFileSize(path, kOptions, &size, nullptr);
  if (!told.ok()) return fail(error_of(told, "looking at", path));
  return size;
}

Result<std::string, StoreError> Disk::read(const std::string& path) const {
  const auto size = size_of(path);
  if (!size) return fail(size.error());
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  IOStatus done = files_->NewSequentialFile(path, rocksdb::FileOptions(), &file, nullptr);
  std::string octets(*size, '\0');
  std::size_t count = 0;
  while (done.ok() && count < octets.size()) {
    rocksdb::Slice part;
    done = file->Read(octets.size() - count, kOptions, &part, octets.data() + count, nullptr);
    if (!done.ok()) break;
    if (part.empty()) done = IOStatus::IOError("it ends early");
    count += part.size();
  }
  if (!done.ok()) return fail(error_of(done, "reading", path));
  return octets;
}

Result<void, StoreError> Disk::make_directory(const std::string& path) const {
  const IOStatus made = files_->CreateDirIfMissing(path, kOptions, nullptr);
  if (!made.ok()) return fail(error_of(made, "making", path));
  return sync_directory(parent_of(path));
}

Result<void, StoreError> Disk::replace(const std::string& path, std::string_view content) const {
  const std::string fresh = path + ".new";
  if (auto written = write(fresh, content); !written) return written;
  if (auto moved = move(fresh, path); !moved) return moved;
  return sync_directory(parent_of(path));
}

Result<void, StoreError> Disk::write(const std::string& path, std::string_view content) const {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  IOStatus done = files_->NewWritableFile(path, rocksdb::FileOptions(), &file, nullptr);
  if (done.ok()) done = file->Append({content.data(), content.size()}, kOptions, nullptr);
  if (done.ok()) done = file->Sync(kOptions, nullptr);
  if (done.ok()) done = file->Close(kOptions, nullptr);
  return outcome(done, "writing", path);
}

Result<void, StoreError> Disk::truncate(const std::string& path, std::uint64_t size) const {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  IOStatus done = files_->ReopenWritableFile(path, rocksdb::FileOptions(), &file, nullptr);
  if (done.ok()) done = file->Truncate(size, kOptions, nullptr);
  if (done.ok()) done = file->Fsync(kOptions, nullptr);
  if (done.ok()) done = file->Close(kOptions, nullptr);
  return outcome(done, "cutting", path);
}

Result<void, StoreError> Disk::move(const std::string& from, const std::string& to) const {
  return outcome(files_->RenameFile(from, to, kOptions, nullptr), "renaming", from);
}

Result<void, StoreError> Disk::sync(const std::string& path) const {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  IOStatus done = files_->ReopenWritableFile(path, rocksdb::FileOptions(), &file, nullptr);
  if (done.ok()) done = file->Sync(kOptions, nullptr);
  if (done.ok()) done = file->Close(kOptions, nullptr);
  return outcome(done, "syncing", path);
}

Result<void, StoreError> Disk::sync_directory(const std::string& path) const {
  std::unique_ptr<rocksdb::FSDirectory> directory;
  IOStatus done = files_->NewDirectory(path, kOptions, &directory, nullptr);
  if (done.ok()) {
    done = directory->FsyncWithDirOptions(kOptions, nullptr, rocksdb::DirFsyncOptions());
  }
  return outcome(done, "syncing the directory", path);
}

}  // namespace harrier
