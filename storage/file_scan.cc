#include "storage/file_scan.h"

#include <algorithm>
#include <string>
#include <utility>
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
      firsts_.emplace_back(file.smallestkey, file.db_path + file.name);
    }
    std::sort(firsts_.begin(), firsts_.end());
  }

  bool Valid() const override { return damage_.ok() && inner_->Valid(); }

  void SeekToFirst() override {
    inner_->SeekToFirst();
    begin_at(firsts_.begin());
  }

  void Seek(const rocksdb::Slice& target) override {
    inner_->Seek(target);
    begin_at(std::lower_bound(firsts_.begin(), firsts_.end(), target,
                              [](const First& first, const rocksdb::Slice& key) {
                                return key.compare(first.first) > 0;
                              }));
  }

  void Next() override {
    inner_->Next();
    check();
  }

  // Backwards nothing is checked.
  void SeekToLast() override {
    inner_->SeekToLast();
    begin_at(firsts_.end());
  }

  void SeekForPrev(const rocksdb::Slice& target) override {
    inner_->SeekForPrev(target);
    begin_at(firsts_.end());
  }

  void Prev() override { inner_->Prev(); }

  rocksdb::Slice key() const override { return inner_->key(); }

  rocksdb::Slice value() const override { return inner_->value(); }

  rocksdb::Status status() const override { return damage_.ok() ? inner_->status() : damage_; }

 private:
  using First = std::pair<std::string, std::string>;  // smallest key and path of a file

  void begin_at(std::vector<First>::const_iterator expected) {
    expected_ = expected;
    damage_ = rocksdb::Status::OK();
    check();
  }

  void check() {
    if (expected_ == firsts_.end() || !inner_->status().ok()) return;
    if (inner_->Valid()) {
      const int order = inner_->key().compare(expected_->first);
      if (order < 0) return;
      if (order == 0) {
        ++expected_;
        return;
      }
    }
    damage_ = rocksdb::Status::Corruption("the first block cannot be read", expected_->second);
  }

  std::unique_ptr<rocksdb::Iterator> inner_;
  std::vector<First> firsts_;  // ascending
  std::vector<First>::const_iterator expected_;
  rocksdb::Status damage_;
};

}  // namespace

std::unique_ptr<rocksdb::Iterator> scan_files(rocksdb::DB& db,
                                              rocksdb::ColumnFamilyHandle* column) {
  return std::make_unique<FileScan>(db, column);
}

}  // namespace harrier
