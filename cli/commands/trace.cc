// harrier trace: switches the copies of all messages of a virtual host on and off.

#include <memory>
#include <ostream>
#include <string>

#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "broker/config/config.h"
#include "cli/admin_client.h"
#include "cli/commands.h"

namespace harrier {
namespace {

using Json = nlohmann::json;

struct TraceOptions {
  std::string vhost = "/";
  std::string data_dir = Config().store.data_dir;
};

int trace(const TraceOptions& options, const char* state, Terminal terminal) {
  const Json request{{"command", "trace"}, {"vhost", options.vhost}, {"state", state}};
  const auto reply =
      ask_broker(options.data_dir, request.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (!reply) {
    terminal.err << "harrier: " << reply.error().why << "\n";
    return reply.error().exit_code;
  }
  const Json answer = Json::parse(*reply, nullptr, false);
  if (answer.is_discarded() || !answer.contains("ok")) {
    const bool said = answer.contains("error") && answer["error"].is_string();
    terminal.err << "harrier: "
                 << (said ? answer["error"].get<std::string>()
                          : "the broker's reply makes no sense: " + *reply)
                 << "\n";
    return kExitFailed;
  }
  terminal.out << "tracing of virtual host '" << options.vhost << "' is " << state << "\n";
  return 0;
}

RunCommand define(CLI::App& app, const char* state) {
  const auto options = std::make_shared<TraceOptions>();
  app.add_option("VHOST", options->vhost, "The virtual host")->capture_default_str();
  app.add_option("-d,--data-dir", options->data_dir, "The running broker's data directory")
      ->type_name("DIR")
      ->envname("HARRIER_DATA_DIR")
      ->capture_default_str();
  return [options, state](Terminal terminal) { return trace(*options, state, terminal); };
}

}  // namespace

RunCommand define_trace_on(CLI::App& app) {
  return define(app, "on");
}

RunCommand define_trace_off(CLI::App& app) {
  return define(app, "off");
}

}  // namespace harrier
