// harrier trace: switches the copies of all messages of a virtual host on and off.

#include <memory>
#include <ostream>
#include <string>

#include <CLI/App.hpp>

#include "broker/config/config.h"
#include "cli/commands.h"
#include "cli/tell_broker.h"

namespace harrier {
namespace {

struct TraceOptions {
  std::string vhost = "/";
  std::string data_dir = Config().store.data_dir;
};

int trace(const TraceOptions& options, const char* state, Terminal terminal) {
  const AdminFields request{{"command", "trace"}, {"vhost", options.vhost}, {"state", state}};
  return tell_broker(options.data_dir, request, terminal, [&](const std::string&) {
    terminal.out << "tracing of virtual host '" << options.vhost << "' is " << state << "\n";
  });
}

RunCommand define(CLI::App& app, const char* state) {
  const auto options = std::make_shared<TraceOptions>();
  app.add_option("VHOST", options->vhost, "The virtual host")->capture_default_str();
  add_data_dir(app, options->data_dir);
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
