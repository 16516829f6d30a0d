#include "broker/config/value_syntax.h"

#include <cstdint>
#include <optional>

#include <doctest/doctest.h>

using namespace harrier;

TEST_SUITE("configuration values") {
  TEST_CASE("sizes are plain octets, binary units or decimal units") {
    struct Row {
      const char* text = "";
      std::optional<std::uint64_t> value;
    };

    for (const Row& row : {
             Row{"0", 0},
             Row{"131072", 131'072},
             Row{"1k", 1024},
             Row{"1kB", 1000},
             Row{"1KiB", 1024},
             Row{"64MiB", 64ULL << 20},
             Row{"128MB", 128'000'000},
             Row{"1G", 1ULL << 30},
             Row{"2gb", 2'000'000'000},
             Row{"1Ti", 1ULL << 40},
             Row{"16383p", 16'383ULL << 50},
             Row{"16384p", std::nullopt},  // 2^64
             Row{"18446744073709551615", UINT64_MAX},
             Row{"18446744073709551616", std::nullopt},
             Row{"", std::nullopt},
             Row{"-1", std::nullopt},
             Row{"+1", std::nullopt},
             Row{"1.5k", std::nullopt},
             Row{"k", std::nullopt},
             Row{"1 k", std::nullopt},
             Row{"1kk", std::nullopt},
             Row{"1b", std::nullopt},
             Row{"0x10", std::nullopt},
         }) {
      CAPTURE(row.text);
      CHECK(parse_number(row.text) == row.value);
    }
  }

  TEST_CASE("flags are true or false, on or off, yes or no") {
    CHECK(parse_flag("true") == true);
    CHECK(parse_flag("On") == true);
    CHECK(parse_flag("no") == false);
    CHECK(parse_flag("FALSE") == false);
    CHECK_FALSE(parse_flag("1").has_value());
    CHECK_FALSE(parse_flag("").has_value());
  }

  TEST_CASE("a listener is a port or a numeric address with a port") {
    struct Row {
      const char* text = "";
      std::optional<ListenerAddress> value;
    };

    for (const Row& row : {
             Row{"5672", ListenerAddress{"", 5672}},
             Row{"0", ListenerAddress{"", 0}},
             Row{"127.0.0.1:5673", ListenerAddress{"127.0.0.1", 5673}},
             Row{"::1:5672", ListenerAddress{"::1", 5672}},
             Row{"[::1]:5672", ListenerAddress{"::1", 5672}},
             Row{":::5672", ListenerAddress{"::", 5672}},
             Row{"0.0.0.0:65535", ListenerAddress{"0.0.0.0", 65'535}},
             Row{"65536", std::nullopt},
             Row{"-1", std::nullopt},
             Row{"localhost:5672", std::nullopt},
             Row{"127.0.0.1", std::nullopt},
             Row{"127.0.0.1:", std::nullopt},
             Row{"[]:5672", std::nullopt},
             Row{":5672", std::nullopt},
             Row{"", std::nullopt},
         }) {
      CAPTURE(row.text);
      CHECK(parse_listener(row.text) == row.value);
      if (row.value) CHECK(parse_listener(to_string(*row.value)) == row.value);
    }
  }

  TEST_CASE("log levels are those of RabbitMQ") {
    CHECK(parse_log_level("debug") == LogLevel::debug);
    CHECK(parse_log_level("notice") == LogLevel::info);
    CHECK(parse_log_level("emergency") == LogLevel::critical);
    CHECK(parse_log_level("none") == LogLevel::none);
    CHECK_FALSE(parse_log_level("loud").has_value());
    CHECK(to_string(LogLevel::info) == "info");
  }
}
