#include "storage/file_scan.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/metadata.h>

namespace harrier {

namespace {

class FileScan final : public rocksdb::Iterator {
 public:
  FileScan(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* column) {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    inner_.reset(db.NewIterator(options, column));
    std::vector<rocksdb::LiveFileMetaData> files;
    db.GetLiveFilesMetaData(&files);
    for (const rocksdb::LiveFileMetaData& file : files) {
      if (file.column_family_name != column->GetName()) continue;
      files_.push_back({file.smallestkey, file.largestkey, file.db_path + file.name});
    }
    std::sort(files_.begin(), files_.end(),
              [](const File& a, const File& b) { return a.first < b.first; });
  }

  bool Valid() const override { return damage_.ok() && inner_->Valid(); }

  void SeekToFirst() override {
    inner_->SeekToFirst();
    begin_at(files_.begin());
  }

  void Seek(const rocksdb::Slice& target) override {
    inner_->Seek(target);
    const auto behind = std::lower_bound(
        files_.begin(), files_.end(), target,
        [](const File& file, const rocksdb::Slice& key) { return key.compare(file.first) > 0; });
    begin_at(behind);
    // A file that holds the target in its midst has a key from there on, its last.
    if (behind == files_.begin() || !status().ok()) return;
    const File& within = *std::prev(behind);
    if (target.compare(within.last) > 0) return;
    if (!Valid() || key().compare(within.last) > 0) pass_over(within);
  }

  void Next() override {
    inner_->Next();
    check();
  }

  // Backwards nothing is checked.
  void SeekToLast() override {
    inner_->SeekToLast();
    begin_at(files_.end());
  }

  void SeekForPrev(const rocksdb::Slice& target) override {
    inner_->SeekForPrev(target);
    begin_at(files_.end());
  }

  void Prev() override { inner_->Prev(); }

  rocksdb::Slice key() const override { return inner_->key(); }

  rocksdb::Slice value() const override { return inner_->value(); }

  rocksdb::Status status() const override { return damage_.ok() ? inner_->status() : damage_; }

 private:
  struct File {
    std::string first, last;  // keys
    std::string path;
  };

  void begin_at(std::vector<File>::const_iterator expected) {
    expected_ = expected;
    damage_ = rocksdb::Status::OK();
    check();
  }

  void check() {
    if (expected_ == files_.end() || !inner_->status().ok()) return;
    if (inner_->Valid()) {
      const int order = inner_->key().compare(expected_->first);
      if (order < 0) return;
      if (order == 0) {
        ++expected_;
        return;
      }
    }
    pass_over(*expected_);
  }

  void pass_over(const File& file) {
    damage_ = rocksdb::Status::Corruption("the first block cannot be read", file.path);
  }

  std::unique_ptr<rocksdb::Iterator> inner_;
  std::vector<File> files_;  // ascending
  std::vector<File>::const_iterator expected_;
  rocksdb::Status damage_;
};

}  // namespace

std::unique_ptr<rocksdb::Iterator> scan_files(rocksdb::DB& db,
                                              rocksdb::ColumnFamilyHandle* column) {
  return std::make_unique<FileScan>(db, column);
}

std::string resume_behind(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* column,
                          const std::string& last) {
  std::vector<rocksdb::LiveFileMetaData> files;
  db.GetLiveFilesMetaData(&files);
  const rocksdb::LiveFileMetaData* damaged = nullptr;
  for (const rocksdb::LiveFileMetaData& file : files) {
    if (file.column_family_name != column->GetName() || file.largestkey <= last) continue;
    if (damaged == nullptr || file.smallestkey < damaged->smallestkey) damaged = &file;
  }
  if (damaged == nullptr) return {};
  std::string resume = damaged->largestkey + '\0';
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(options, column));
  it->SeekForPrev(damaged->largestkey);
  for (; it->Valid() && it->key().compare(last) > 0; it->Prev())
    resume = it->key().ToString();
  return resume;
}

}  // namespace harrier
