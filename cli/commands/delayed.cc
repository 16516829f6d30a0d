// harrier delayed: the messages of a queue that wait until they are due.

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

struct DelayedOptions {
  std::string queue;
  std::string vhost = "/";
  std::string cancel_key;
  bool release = false;
  std::string data_dir = Config().store.data_dir;
};

int delayed(const DelayedOptions& options, Terminal terminal) {
  Json request{{"command", "delayed"}, {"vhost", options.vhost}, {"queue", options.queue}};
  if (options.release) request["release"] = "true";
  if (!options.cancel_key.empty()) request["cancel"] = options.cancel_key;
  const auto reply =
      ask_broker(options.data_dir, request.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (!reply) {
    terminal.err << "harrier: " << reply.error().why << "\n";
    return reply.error().exit_code;
  }
  Json answer = Json::parse(*reply, nullptr, false);
  if (answer.is_discarded() || !answer.contains("ok")) {
    const bool said = answer.contains("error") && answer["error"].is_string();
    terminal.err << "harrier: "
                 << (said ? answer["error"].get<std::string>()
                          : "the broker's reply makes no sense: " + *reply)
                 << "\n";
    return kExitFailed;
  }
  answer.erase("ok");
  terminal.out << answer.dump() << "\n";
  return 0;
}

}  // namespace

RunCommand define_delayed(CLI::App& app) {
  const auto options = std::make_shared<DelayedOptions>();
  app.add_option("QUEUE", options->queue, "The queue")->required();
  app.add_option("--vhost", options->vhost, "Its virtual host")->capture_default_str();
  app.add_option("--cancel", options->cancel_key, "Drops those published with that x-cancel-key")
      ->type_name("KEY");
  app.add_flag("--release", options->release, "Lets all of them come at once");
  app.add_option("-d,--data-dir", options->data_dir, "The running broker's data directory")
      ->type_name("DIR")
      ->envname("HARRIER_DATA_DIR")
      ->capture_default_str();
  return [options](Terminal terminal) { return delayed(*options, terminal); };
}

}  // namespace harrier
