#include "cli/tell_broker.h"

#include <ostream>

#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "broker/config/config_file.h"
#include "cli/admin_client.h"

namespace harrier {
namespace {

using Json = nlohmann::ordered_json;

int complain(const std::string& why, int exit_code, Terminal terminal) {
  terminal.err << "harrier: " << why << "\n";
  return exit_code;
}

}  // namespace

void add_data_dir(CLI::App& app, std::string& data_dir) {
  app.add_option("-d,--data-dir", data_dir, "The running broker's data directory")
      ->type_name("DIR")
      ->envname("HARRIER_DATA_DIR")
      ->capture_default_str();
}

int tell_broker(const std::string& data_dir, const AdminFields& fields, Terminal terminal,
                const PrintAnswer& print) {
  std::string line;
  try {
    line = Json(fields).dump();
  } catch (const Json::exception&) {
    return complain("what is told to the broker has to be UTF-8", kExitUsage, terminal);
  }
  const auto reply = ask_broker(data_dir, line);
  if (!reply) return complain(reply.error().why, reply.error().exit_code, terminal);
  try {
    const Json answer = Json::parse(*reply);
    if (answer.contains("error")) {
      return complain(answer["error"].get<std::string>(), kExitFailed, terminal);
    }
    print(*reply);
  } catch (const Json::exception&) {
    return complain("the broker's reply makes no sense: " + *reply, kExitFailed, terminal);
  }
  return 0;
}

PrintAnswer print_rows(Terminal terminal) {
  return [terminal](const std::string& answer) {
    for (const Json& row : Json::parse(answer).value("rows", Json::array()))
      terminal.out << row.dump() << "\n";
  };
}

}  // namespace harrier
