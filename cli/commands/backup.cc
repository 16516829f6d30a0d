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
#include "broker/config/config_file.h"
#include "cli/admin_client.h"
#include "cli/commands.h"

namespace harrier {
namespace {

using Json = nlohmann::json;

struct BackupOptions {
  std::string directory;
  std::string data_dir = Config().store.data_dir;
};

// JSON is UTF-8; other octets in a name throw.
Result<std::string, std::string> request_for(const std::string& directory) {
  const std::string absolute = std::filesystem::absolute(directory).lexically_normal();
  try {
    return Json{{"command", "backup"}, {"directory", absolute}}.dump();
  } catch (const Json::exception&) {
    return fail(std::string("the name of the directory has to be UTF-8"));
  }
}

// The reply as a person reads it; throws where it is none that we know.
Result<std::string, std::string> read_reply(const std::string& line) {
  const Json reply = Json::parse(line);
  if (reply.contains("error")) return fail(reply["error"].get<std::string>());
  return fmt::format("copied to {}: {} files, {} octets, {:.2f} s",
                     reply.at("directory").get<std::string>(),
                     reply.at("files").get<std::uint64_t>(),
                     reply.at("octets").get<std::uint64_t>(), reply.at("seconds").get<double>());
}

int report(const std::string& line, Terminal terminal) {
  Result<std::string, std::string> text;
  try {
    text = read_reply(line);
  } catch (const Json::exception&) {
    text = fail("the broker's reply makes no sense: " + line);
  }
  if (!text) {
    terminal.err << "harrier: " << text.error() << "\n";
    return kExitFailed;
  }
  terminal.out << *text << "\n";
  return 0;
}

int backup(const BackupOptions& options, Terminal terminal) {
  const auto request = request_for(options.directory);
  if (!request) {
    terminal.err << "harrier: " << request.error() << "\n";
    return kExitUsage;
  }
  const auto reply = ask_broker(options.data_dir, *request);
  if (!reply) {
    terminal.err << "harrier: " << reply.error().why << "\n";
    return reply.error().exit_code;
  }
  return report(*reply, terminal);
}

}  // namespace

RunCommand define_backup(CLI::App& app) {
  const auto options = std::make_shared<BackupOptions>();
  app.add_option(
         "DIRECTORY", options->directory,
         "Where the copy goes, empty or not there; harrierd --data-dir DIRECTORY starts on it")
      ->required();
  app.add_option("-d,--data-dir", options->data_dir, "The running broker's data directory")
      ->type_name("DIR")
      ->envname("HARRIER_DATA_DIR")
      ->capture_default_str();
  return [options](Terminal terminal) { return backup(*options, terminal); };
}

}  // namespace harrier
