#include "broker/config/config_file.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace harrier;

namespace {

using Lines = std::vector<std::string>;

Config parsed(std::string_view text, const std::vector<ConfigOverride>& overrides = {}) {
  auto loaded = parse_config(text, "harrier.conf", overrides);
  for (const std::string& line : loaded ? Lines() : loaded.error().lines)
    FAIL_CHECK(line);
  REQUIRE(loaded.has_value());
  return loaded->config;
}

Lines errors(std::string_view text, const std::vector<ConfigOverride>& overrides = {}) {
  auto loaded = parse_config(text, "harrier.conf", overrides);
  return loaded ? Lines() : loaded.error().lines;
}

Lines warnings(std::string_view text) {
  auto loaded = parse_config(text, "harrier.conf", {});
  REQUIRE(loaded.has_value());
  return loaded->warnings;
}

// A directory of its own that goes away with it.
class ScratchDirectory {
 public:
  ScratchDirectory()
      : path_(std::filesystem::temp_directory_path() /
              ("harrier-config-test-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }

  ~ScratchDirectory() { std::filesystem::remove_all(path_); }

  std::filesystem::path write(const std::string& name, std::string_view text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

TEST_SUITE("configuration file: what it says") {
  TEST_CASE("without a file the broker listens on 127.0.0.1 with the documented defaults") {
    const auto loaded = load_config(std::nullopt, {});
    REQUIRE(loaded.has_value());
    const SessionConfig& session = loaded->config.session;
    CHECK(session.listeners == std::vector<ListenerAddress>{{"127.0.0.1", 5672}});
    CHECK(session.heartbeat_s == 60);
    CHECK(session.channel_max == 2047);
    CHECK(session.frame_max == 131'072);
    CHECK(session.version != "0.0.0");
    CHECK(loaded->warnings.empty());
  }

  TEST_CASE("keys, comments, blanks and line ends are read as in rabbitmq.conf") {
    const Config config = parsed(
        "# a comment\n"
        "## another = comment\n"
        "\n"
        "heartbeat=30\r\n"
        "  channel_max =\t100   # with a remark\n"
        "frame_max = 64KiB\n"
        "max_message_size = 1MB#close\n"
        "consumer_timeout = 3600000\n"
        "tx_max_messages = 7\n"
        "tx_max_size = 2MiB\n"
        "cluster_name = two words\n"
        "default_pass = 'a # b\\'c '  # quoted\n"
        "default_permissions.write = ''\n"
        "log.console = false");
    CHECK(config.session.heartbeat_s == 30);
    CHECK(config.session.channel_max == 100);
    CHECK(config.session.frame_max == 65'536);
    CHECK(config.session.max_message_bytes == 1'000'000);
    CHECK(config.session.consumer_timeout_ms == 3'600'000);
    CHECK(config.session.tx_messages_max == 7);
    CHECK(config.session.tx_bytes_max == 2'097'152);
    CHECK(config.session.cluster_name == "two words");
    CHECK(config.auth.default_pass == "a # b'c ");
    CHECK(config.auth.default_permissions.write.empty());
    CHECK_FALSE(config.log.console);
  }

  TEST_CASE("the first listener given replaces the default one, further ones add to it") {
    const Config config = parsed("listeners.tcp.default = 5673\nlisteners.tcp.2 = ::1:5674\n");
    CHECK(config.session.listeners == std::vector<ListenerAddress>{{"", 5673}, {"::1", 5674}});
  }

  TEST_CASE("loopback users are switched on by name, and naming any replaces guest") {
    CHECK(parsed("loopback_users.guest = false").auth.loopback_users.empty());
    CHECK(parsed("loopback_users = none").auth.loopback_users.empty());
    CHECK(parsed("loopback_users.bob = true").auth.loopback_users == Lines{"bob"});
    CHECK(parsed("loopback_users.a = true\nloopback_users.b\\.c = true").auth.loopback_users ==
          Lines{"a", "b.c"});
  }

  TEST_CASE("tags and mechanisms are lists") {
    const Config config = parsed(
        "default_user_tags.monitoring = true\n"
        "auth_mechanisms.1 = AMQPLAIN\n"
        "auth_mechanisms.2 = PLAIN\n");
    CHECK(config.auth.default_user_tags == Lines{"monitoring"});
    CHECK(config.session.auth_mechanisms == Lines{"AMQPLAIN", "PLAIN"});
  }

  TEST_CASE("shards are a number or auto") {
    CHECK(parsed("shards = 4").runtime.shards == 4);
    CHECK(parsed("shards = auto").runtime.shards == 0);
  }

  TEST_CASE("a log file is named or false, an anonymous user named or none") {
    CHECK(parsed("log.file = harrier.log\nlog.dir = /var/log").log.file == "harrier.log");
    CHECK(parsed("log.file = false").log.file.empty());
    CHECK(parsed("anonymous_login_user = none").auth.anonymous_login_user.empty());
  }

  TEST_CASE("a key set twice holds the later value and is warned about") {
    CHECK(parsed("heartbeat = 1\nheartbeat = 2\n").session.heartbeat_s == 2);
    CHECK(warnings("heartbeat = 1\n\nheartbeat = 2\n") ==
          Lines{"harrier.conf:3: 'heartbeat' was set at harrier.conf:1 already; this one holds"});
  }

  TEST_CASE("overrides outrank the file, a later one an earlier one") {
    const Config config = parsed(
        "heartbeat = 10\nlisteners.tcp.default = 1\nlisteners.tcp.2 = 2\nloopback_users.guest = "
        "true",
        {{"--data-dir", "data_dir", "/a"},
         {"--set", "heartbeat", "20"},
         {"--set", "listeners.tcp.default", "5673"},
         {"--set", "data_dir", "/b"}});
    CHECK(config.session.heartbeat_s == 20);
    CHECK(config.store.data_dir == "/b");
    CHECK(config.session.listeners == std::vector<ListenerAddress>{{"", 2}, {"", 5673}});
  }

  TEST_CASE("an override does not count as a repetition") {
    const std::vector<ConfigOverride> overrides{{"--set", "heartbeat", "20"}};
    const auto loaded = parse_config("heartbeat = 10", "harrier.conf", overrides);
    REQUIRE(loaded.has_value());
    CHECK(loaded->warnings.empty());
  }

  TEST_CASE("environment variables are put in for $(NAME)") {
    ::setenv("HARRIER_TEST_PASS", "s3cret", 1);
    ::unsetenv("HARRIER_TEST_NONE");
    CHECK(parsed("default_pass = x$(HARRIER_TEST_PASS)y").auth.default_pass == "xs3crety");
    CHECK(parsed("default_pass = 'a$(b'").auth.default_pass == "a$(b");
    CHECK(errors("default_pass = $(HARRIER_TEST_NONE)") ==
          Lines{"harrier.conf:1: default_pass needs the environment variable HARRIER_TEST_NONE; "
                "set it"});
  }
}

TEST_SUITE("configuration file: keys of RabbitMQ") {
  TEST_CASE("keys without effect here are accepted and named in one warning") {
    CHECK(warnings("management.tcp.port = 15672\n"
                   "ssl_options.verify = verify_peer\n"
                   "vm_memory_calculation_strategy = rss\n"
                   "disk_monitor_failure_retries = 3\n"
                   "listeners.ssl.default = 5671\n"
                   "heartbeat = 10\n"
                   "queue_master_locator = min-masters\n"
                   "log.syslog = true\n"
                   "log.syslog.level = warning\n"
                   "collect_statistics_interval = 5000\n"
                   "mqtt.allow_anonymous = true\n") ==
          Lines{"known to RabbitMQ but without effect here: collect_statistics_interval, "
                "disk_monitor_failure_retries, listeners.ssl.default, log.syslog, "
                "log.syslog.level, management.tcp.port, mqtt.allow_anonymous, "
                "queue_master_locator, ssl_options.verify, vm_memory_calculation_strategy"});
  }

  TEST_CASE("what only begins like such a key is unknown") {
    CHECK(errors("managementx.tcp = 1").size() == 1);
  }

  TEST_CASE("a broker that listens nowhere is warned about") {
    CHECK(warnings("listeners.tcp = none") ==
          Lines{"no AMQP listener is configured: no client can connect"});
  }
}

TEST_SUITE("configuration file: what is wrong with it") {
  TEST_CASE(
      "every error is told in one line with its place and its mend, in the order of the file") {
    constexpr const char* kFile = R"(hearbeat = 10

heartbeat = soon
frame_max = 1
nonsense
zebra = 1
tcp_listen_options.nodelay = maybe
listeners.tcp.1 = localhost:5672
default_pass = 'open
default_pass = 'a'b
cluster_name =
default_pass = encrypted:abc
shards = 65
= 1
)";
    constexpr const char* kErrors =
        R"(harrier.conf:1: unknown key 'hearbeat'; did you mean 'heartbeat'?
harrier.conf:3: heartbeat = 'soon' is not a valid value; give seconds, 0..65535
harrier.conf:4: frame_max = '1' is not a valid value; give octets, 4096..134217728, or 0: no limit
harrier.conf:5: 'nonsense' is no setting; write KEY = VALUE, or # before a comment
harrier.conf:6: unknown key 'zebra'; harrierd --config-keys lists the known ones
harrier.conf:7: tcp_listen_options.nodelay = 'maybe' is not a valid value; give true, false
harrier.conf:8: listeners.tcp.1 = 'localhost:5672' is not a valid value; give PORT or ADDRESS:PORT, the address a number; 0 takes any free port
harrier.conf:9: default_pass has no closing quote; end the value with '
harrier.conf:10: default_pass has text after the closing quote; write \' for a quote inside
harrier.conf:11: cluster_name has no value; write '' for an empty one
harrier.conf:12: default_pass is encrypted, which is not supported; use $(NAME) to keep secrets in the environment
harrier.conf:13: shards = '65' is not a valid value; give auto, or 1..64
harrier.conf:14: '= 1' is no setting; write KEY = VALUE, or # before a comment
)";
    std::string told;
    for (const std::string& line : errors(kFile))
      told += line + "\n";
    CHECK(told == kErrors);
  }

  TEST_CASE("a bad value counts even where a later one outranks it") {
    CHECK(errors("heartbeat = soon\nheartbeat = 10").size() == 1);
    CHECK(errors("heartbeat = soon", {{"--set", "heartbeat", "10"}}).size() == 1);
  }

  TEST_CASE("a bad override is told by its flag") {
    CHECK(errors("", {{"--set", "heartbeat", "-1"}, {"--data-dir", "data_dir", ""}}) ==
          Lines{"--set: heartbeat = '-1' is not a valid value; give seconds, 0..65535",
                "--data-dir: data_dir = '' is not a valid value; give directory"});
  }

  TEST_CASE("an error stays one line whatever the file holds") {
    const std::string text("a\x1b[31m\tb\0c = 1\nheartbeat = \x01\n", 28);
    for (const std::string& line : errors(text)) {
      CAPTURE(line);
      CHECK(line.find_first_of(std::string("\x1b\x01\n\t\0", 5)) == std::string::npos);
    }
    CHECK(errors(text).size() == 2);
  }

  TEST_CASE("a suggestion made of the unknown key stays printable") {
    CHECK(errors("listeners.tpc.\x1b = 1") ==
          Lines{"harrier.conf:1: unknown key 'listeners.tpc.?'; did you mean 'listeners.tcp.?'?"});
  }

  TEST_CASE("a file full of errors is cut short") {
    std::string text;
    for (int i = 0; i < 300; ++i)
      text += "zebra = 1\n";
    CHECK(errors(text).size() == 101);
    CHECK(errors(text).back() == "further errors are not shown");
  }

  TEST_CASE("unknown keys and bad values end with exit code 1") {
    CHECK(parse_config("zebra = 1", "harrier.conf", {}).error().exit_code == 1);
    CHECK(parse_config("heartbeat = x", "harrier.conf", {}).error().exit_code == 1);
  }
}

TEST_SUITE("configuration file: on disk") {
  TEST_CASE("a file is read by its path, which errors name") {
    const ScratchDirectory directory;
    const auto good = directory.write("good.conf", "heartbeat = 7\n");
    const auto bad = directory.write("bad.conf", "\nheartbeat = x\n");
    CHECK(load_config(good, {})->config.session.heartbeat_s == 7);
    CHECK(load_config(bad, {}).error().lines.front().starts_with(bad.string() + ":2: "));
  }

  TEST_CASE("a file that is missing, a directory or far too large ends with exit code 66") {
    const ScratchDirectory directory;
    const auto missing = directory.path() / "missing.conf";
    const auto large = directory.write("large.conf", std::string(1024 * 1024 + 1, '\n'));
    CHECK(load_config(missing, {}).error().lines ==
          Lines{missing.string() + ": No such file or directory; name a readable file, or none to "
                                   "run with the defaults"});
    for (const auto& path : {missing, directory.path(), large}) {
      CAPTURE(path.string());
      const auto loaded = load_config(path, {});
      REQUIRE_FALSE(loaded.has_value());
      CHECK(loaded.error().lines.size() == 1);
      CHECK(loaded.error().exit_code == 66);
    }
  }
}
