#pragma once

#include <memory>

namespace rocksdb {
class FileSystem;
}

namespace harrier {

// `files` (null: the system's own) that do not let go of the MANIFEST that CURRENT names.
//
// RocksDB 7.8 removes it on a full disk: when the state cannot be written to a new MANIFEST, it
// takes the new one for the one in force all the same, and the old one for obsolete
// (VersionSet::ProcessManifestWrites). Nothing would be left to open the database with.
std::shared_ptr<rocksdb::FileSystem> keep_current_manifest(
    std::shared_ptr<rocksdb::FileSystem> files);

}  // namespace harrier
