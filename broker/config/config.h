#pragma once

#include <string>

#include "base/log.h"
#include "broker/auth/auth_config.h"
#include "broker/runtime/runtime_config.h"
#include "broker/session/session_config.h"
#include "storage/store_config.h"

namespace harrier {

// Where the broker logs to (log.*).
struct LogSettings {
  bool console = true;  // standard error
  LogLevel console_level = LogLevel::info;
  std::string dir = ".";  // where a relative `file` lies
  std::string file;       // none when empty
  LogLevel file_level = LogLevel::info;
  bool exchange = false;  // to amq.rabbitmq.log
  LogLevel exchange_level = LogLevel::info;
};

// Everything a broker can be told, by the folder that acts on it. Only the app sees the whole; each
// part is handed its own struct. A default-constructed Config is a working broker on 127.0.0.1.
struct Config {
  SessionConfig session;
  AuthConfig auth;
  StoreConfig store;
  RuntimeConfig runtime;
  LogSettings log;
};

// Applies `settings` to the whole process. Throws std::runtime_error when the log file cannot be
// opened.
void configure_logging(const LogSettings& settings);

}  // namespace harrier
