// harrier backup: tells a running broker to copy its store.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>

#include <CLI/App.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "broker/config/config.h"
#include "cli/commands.h"
#include "cli/tell_broker.h"

namespace harrier {
namespace {

using Json = nlohmann::json;

struct BackupOptions {
  std::string directory;
  std::string data_dir = Config().store.data_dir;
};

int backup(const BackupOptions& options, Terminal terminal) {
  const std::string absolute = std::filesystem::absolute(options.directory).lexically_normal();
  const AdminFields request{{"command", "backup"}, {"directory", absolute}};
  return tell_broker(options.data_dir, request, terminal, [&](const std::string& line) {
    const Json answer = Json::parse(line);
    terminal.out << fmt::format(
        "copied to {}: {} files, {} octets, {:.2f} s\n", answer.at("directory").get<std::string>(),
        answer.at("files").get<std::uint64_t>(), answer.at("octets").get<std::uint64_t>(),
        answer.at("seconds").get<double>());
  });
}

}  // namespace

RunCommand define_backup(CLI::App& app) {
  const auto options = std::make_shared<BackupOptions>();
  app.add_option(
         "DIRECTORY", options->directory,
         "Where the copy goes, empty or not there; harrierd --data-dir DIRECTORY starts on it")
      ->required();
  add_data_dir(app, options->data_dir);
  return [options](Terminal terminal) { return backup(*options, terminal); };
}

}  // namespace harrier
