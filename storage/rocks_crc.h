#pragma once

namespace harrier {

// Debian builds RocksDB without SSE 4.2, so that the checksum of its log is computed by table and
// takes half of a commit. This folder therefore defines RocksDB's own function anew, with the same
// results; the dynamic linker prefers the program's definition. Whether it did is told by this
// function, once a database was opened: if not, everything works as before, only slower.
bool rocksdb_uses_our_crc();

}  // namespace harrier
