// harrier redrive: moves the messages of a queue back to where they came from, or elsewhere.

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <CLI/App.hpp>

#include "broker/config/config.h"
#include "broker/config/config_file.h"
#include "cli/commands.h"
#include "cli/tell_broker.h"

namespace harrier {
namespace {

struct Options {
  std::string data_dir = Config().store.data_dir;
  std::string vhost = "/";
  std::string queue;
  std::string to = "origin";
  std::string routing_key;
  std::vector<std::string> filters;
  std::string rate;
  std::string limit;
  bool dry_run = false;
  bool reset_count = false;
  bool wait = false;
  bool status = false;
  std::string cancel;
  const CLI::Option* key_given = nullptr;
};

AdminFields request_for(const Options& options) {
  AdminFields request{{"command", "redrive"}};
  if (options.status) {
    request["status"] = "true";
    return request;
  }
  if (!options.cancel.empty()) {
    request["cancel"] = options.cancel;
    return request;
  }
  request["vhost"] = options.vhost;
  request["queue"] = options.queue;
  request["to"] = options.to;
  if (options.key_given->count() > 0) request["routing-key"] = options.routing_key;
  std::string filter;
  for (const std::string& one : options.filters)
    filter += (filter.empty() ? "" : "\n") + one;
  request["filter"] = filter;
  request["rate"] = options.rate;
  request["limit"] = options.limit;
  request["dry-run"] = options.dry_run ? "true" : "false";
  request["reset-count"] = options.reset_count ? "true" : "false";
  // What a dry run is for is its result.
  request["wait"] = options.wait || options.dry_run ? "true" : "false";
  return request;
}

int redrive(const Options& options, Terminal terminal) {
  const int modes =
      (options.queue.empty() ? 0 : 1) + (options.cancel.empty() ? 0 : 1) + (options.status ? 1 : 0);
  if (modes != 1) {
    terminal.err << "harrier: redrive needs a queue, or --status, or --cancel JOB\n";
    return kExitUsage;
  }
  return tell_broker(options.data_dir, request_for(options), terminal, print_rows(terminal));
}

}  // namespace

RunCommand define_redrive(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  app.add_option("QUEUE", options->queue, "The queue whose messages are moved");
  app.add_option("--to", options->to,
                 "origin, the queue in which a message died first; queue:NAME or exchange:NAME")
      ->type_name("WHERE")
      ->capture_default_str();
  options->key_given = app.add_option("--routing-key", options->routing_key,
                                      "For an exchange; by default that of the message")
                           ->type_name("KEY");
  app.add_option("--filter", options->filters,
                 "reason=WHY of the last death, queue=NAME of the first, or header.NAME=VALUE; "
                 "several must all hold")
      ->type_name("WHICH")
      ->expected(1)
      ->take_all();
  app.add_option("--rate", options->rate, "Messages in a second")->type_name("N");
  app.add_option("--limit", options->limit, "Messages in all")->type_name("N");
  app.add_flag("--dry-run", options->dry_run, "Counts what would be moved, and moves nothing");
  app.add_flag("--reset-count", options->reset_count, "Messages forget how they died");
  app.add_flag("--wait", options->wait, "Ends with the job");
  app.add_flag("--status", options->status, "Lists the jobs");
  app.add_option("--cancel", options->cancel, "Ends a job")->type_name("JOB");
  app.add_option("-p,--vhost", options->vhost, "The virtual host")
      ->type_name("NAME")
      ->capture_default_str();
  add_data_dir(app, options->data_dir);
  return [options](Terminal terminal) { return redrive(*options, terminal); };
}

}  // namespace harrier
