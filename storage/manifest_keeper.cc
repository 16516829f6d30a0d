#include "storage/manifest_keeper.h"

#include <filesystem>
#include <string>
#include <utility>

#include <rocksdb/file_system.h>

#include "base/log.h"
#include "storage/disk.h"
#include "storage/manifest.h"

namespace harrier {

namespace {

namespace fs = std::filesystem;

constexpr Logger kLog("storage");

class ManifestKeeper final : public rocksdb::FileSystemWrapper {
 public:
  explicit ManifestKeeper(const std::shared_ptr<rocksdb::FileSystem>& files)
      : FileSystemWrapper(files), disk_(files) {}

  const char* Name() const override { return "ManifestKeeper"; }

  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    const fs::path file(path);
    if (manifest_name(file.filename().native() + "\n") && is_in_force(file)) {
      kLog.warning("{} stays: it is the one in force", path);
      return rocksdb::IOStatus::OK();
    }
    return FileSystemWrapper::DeleteFile(path, options, debug);
  }

 private:
  // A CURRENT that cannot be read may name it.
  bool is_in_force(const fs::path& manifest) const {
    const std::string current_path = manifest.parent_path() / "CURRENT";
    if (!disk_.exists(current_path)) return false;
    const auto current = disk_.read(current_path);
    return !current || manifest_name(*current) == manifest.filename().native();
  }

  const Disk disk_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> keep_current_manifest(
    std::shared_ptr<rocksdb::FileSystem> files) {
  if (files == nullptr) files = rocksdb::FileSystem::Default();
  return std::make_shared<ManifestKeeper>(std::move(files));
}

}  // namespace harrier
