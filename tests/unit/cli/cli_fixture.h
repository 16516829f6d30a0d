#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.h"

namespace harrier {

// What a run of `harrier` left behind.
struct Ran {
  int exit_code;
  std::string out;
  std::string err;
};

inline Ran run_harrier(const std::vector<const char*>& words) {
  std::vector<const char*> argv{"harrier"};
  argv.insert(argv.end(), words.begin(), words.end());
  std::ostringstream out;
  std::ostringstream err;
  const int exit_code = run_command(static_cast<int>(argv.size()), argv.data(), {out, err});
  return {exit_code, out.str(), err.str()};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A file that is gone with the object.
class TempFile {
 public:
  explicit TempFile(const std::string& text)
      : path_(std::filesystem::temp_directory_path() /
              ("harrier-cli-test-" + std::to_string(::getpid()) + ".conf")) {
    std::ofstream(path_) << text;
  }

  ~TempFile() { std::filesystem::remove(path_); }

  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  const char* path() const { return path_.c_str(); }

 private:
  std::filesystem::path path_;
};

}  // namespace harrier
