#include <csignal>
#include <cstdio>
#include <iostream>
#include <stdexcept>
#include <utility>
#include <variant>

#include "base/log.h"
#include "broker/app.h"
#include "broker/config/command_line.h"
#include "broker/config/version.h"
#include "storage/check_data.h"

namespace {

constexpr harrier::Logger kLog("broker");

// Blocked in every thread, so that only wait_for_stop() sees them.
sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

int serve(harrier::LoadedConfig loaded) {
  const sigset_t signals = stop_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    harrier::configure_logging(loaded.config.log);
  } catch (const std::runtime_error& error) {
    std::cerr << "harrierd: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
  for (const std::string& warning : loaded.warnings)
    kLog.warning("{}", warning);

  harrier::App app(std::move(loaded.config));
  if (auto started = app.start(); !started) {
    std::cerr << "harrierd: " << started.error() << '\n';
    return EXIT_FAILURE;
  }
  for (const std::string& address : app.addresses()) {
    std::cout << "listening on " << address << " (AMQP 0-9-1)\n";
  }
  std::cout << "Server startup complete" << std::endl;  // flushed: scripts wait for this line
  int signal = 0;
  sigwait(&signals, &signal);
  kLog.info("stopping on signal {}", signal);
  app.stop();
  return EXIT_SUCCESS;
}

// The report of --check-data on standard output; the exit code says it in short.
int check(const harrier::DataCheck& check) {
  constexpr int kNoStore = 66;  // EX_NOINPUT
  constexpr int kInUse = 75;    // EX_TEMPFAIL
  const auto report = harrier::check_data(check.loaded.config.store);
  if (!report) {
    std::cerr << "harrierd: " << report.error().detail << '\n';
    return report.error().kind == harrier::StoreError::Kind::locked ? kInUse : kNoStore;
  }
  std::cout << harrier::to_text(*report);
  return report->is_sound() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  auto prepared = harrier::prepare_start(argc, argv, std::cout, std::cerr);
  if (const int* exit_code = std::get_if<int>(&prepared)) return *exit_code;
  if (const auto* check_only = std::get_if<harrier::DataCheck>(&prepared))
    return check(*check_only);
  return serve(std::move(std::get<harrier::LoadedConfig>(prepared)));
}
