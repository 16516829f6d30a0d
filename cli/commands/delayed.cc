// harrier delayed: the messages of a queue that wait until they are due.

#include <memory>
#include <ostream>
#include <string>

#include <CLI/App.hpp>
#include <nlohmann/json.hpp>

#include "broker/config/config.h"
#include "cli/commands.h"
#include "cli/tell_broker.h"

namespace harrier {
namespace {

using Json = nlohmann::ordered_json;

struct DelayedOptions {
  std::string queue;
  std::string vhost = "/";
  std::string cancel_key;
  bool release = false;
  std::string data_dir = Config().store.data_dir;
};

int delayed(const DelayedOptions& options, Terminal terminal) {
  AdminFields request{{"command", "delayed"}, {"vhost", options.vhost}, {"queue", options.queue}};
  if (options.release) request["release"] = "true";
  if (!options.cancel_key.empty()) request["cancel"] = options.cancel_key;
  return tell_broker(options.data_dir, request, terminal, [&](const std::string& answer) {
    Json shown = Json::parse(answer);
    shown.erase("ok");
    terminal.out << shown.dump() << "\n";
  });
}

}  // namespace

RunCommand define_delayed(CLI::App& app) {
  const auto options = std::make_shared<DelayedOptions>();
  app.add_option("QUEUE", options->queue, "The queue")->required();
  app.add_option("--vhost", options->vhost, "Its virtual host")->capture_default_str();
  app.add_option("--cancel", options->cancel_key, "Drops those published with that x-cancel-key")
      ->type_name("KEY");
  app.add_flag("--release", options->release, "Lets all of them come at once");
  add_data_dir(app, options->data_dir);
  return [options](Terminal terminal) { return delayed(*options, terminal); };
}

}  // namespace harrier
