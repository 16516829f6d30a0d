// scenario_runner [--backend core|sockets|rabbitmq] [options] FILE|DIRECTORY...
// Runs scenario files against one broker and reports each that fails. tests/scenarios/README.md.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <CLI/CLI.hpp>

#include "tests/scenario_runner/backend.h"
#include "tests/scenario_runner/runner.h"
#include "tests/scenario_runner/scenario.h"

namespace {

using namespace harrier::scenario;

struct Tally {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  int differing = 0;  // failed on RabbitMQ as the file says
};

std::vector<std::string> find_files(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
      if (entry.path().extension() == ".scenario") files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

void report(const std::string& file, int line, const char* text) {
  std::printf("%s:%d: %s\n", file.c_str(), line, text);
}

// The reason to leave a file out, or nothing.
std::string reason_to_skip(const Scenario& scenario, const Backend& backend, bool rabbitmq) {
  for (const std::string& requirement : scenario.requirements) {
    if (requirement != "restart" || !backend.can_restart()) return "requires " + requirement;
  }
  if (rabbitmq && scenario.only.starts_with("harrier")) return "only " + scenario.only;
  return "";
}

void run_file(const std::string& file, Backend& backend, bool rabbitmq, bool verbose,
              Tally& tally) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  bool differs = false;
  try {
    if (text.empty()) throw Failure(1, "cannot be read");
    const Scenario scenario = parse_scenario(file, text);
    differs = rabbitmq && !scenario.differs.empty();
    const std::string reason = reason_to_skip(scenario, backend, rabbitmq);
    if (!reason.empty()) {
      ++tally.skipped;
      if (verbose) report(file, 1, ("skipped: " + reason).c_str());
      return;
    }
    Runner(backend).run(scenario);
    if (!differs) {
      ++tally.passed;
      if (verbose) report(file, 1, "passed");
      return;
    }
    ++tally.failed;
    report(file, 1, "does not differ on this RabbitMQ");
  } catch (const Failure& failure) {
    if (!differs || verbose) report(file, failure.line(), failure.what());
    differs ? ++tally.differing : ++tally.failed;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string backend_name = "core";
  SocketOptions options;
  std::vector<std::string> paths;
  bool verbose = false;
  CLI::App app("Runs scenario files against a broker");
  app.add_option("--backend", backend_name, "core, sockets or rabbitmq")
      ->check(CLI::IsMember({"core", "sockets", "rabbitmq"}));
  app.add_option("--host", options.host, "IPv4 address of the broker");
  app.add_option("--port", options.port, "port of the broker");
  app.add_option("--server", options.server, "harrierd to start instead of using host and port");
  app.add_option("--set", options.settings, "KEY=VALUE for that harrierd")->allow_extra_args(false);
  app.add_option("--restart-command", options.restart_command, "restarts the broker");
  app.add_option("--admin-command", options.admin_command, "does what `admin` says");
  app.add_flag("--verbose", verbose, "report every file");
  app.add_option("files", paths, "files or directories")->required();
  CLI11_PARSE(app, argc, argv);

  const bool rabbitmq = backend_name == "rabbitmq";
  options.counts_lag = rabbitmq;
  try {
    const std::unique_ptr<Backend> backend =
        backend_name == "core" ? make_core_backend() : make_socket_backend(options);
    if (backend == nullptr) {
      std::fprintf(stderr, "the core backend is not built in\n");
      return 77;
    }
    Tally tally;
    for (const std::string& file : find_files(paths)) {
      run_file(file, *backend, rabbitmq, verbose, tally);
    }
    std::printf("%d passed, %d failed, %d skipped, %d differ as stated\n", tally.passed,
                tally.failed, tally.skipped, tally.differing);
    return tally.failed == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
