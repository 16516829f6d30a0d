#include "broker/config/command_line.h"

#include <stdlib.h>

#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

using namespace harrier;

namespace {

using Action = CommandLine::Action;

// What harrierd does with `flags`, and what it prints.
struct Start {
  explicit Start(std::vector<const char*> flags) {
    flags.insert(flags.begin(), "harrierd");
    result = prepare_start(static_cast<int>(flags.size()), flags.data(), out, err);
  }

  int exit_code() const { return std::get<int>(result); }

  std::ostringstream out;
  std::ostringstream err;
  std::variant<LoadedConfig, DataCheck, int> result;
};

Result<CommandLine, std::string> parsed(std::vector<const char*> flags) {
  flags.insert(flags.begin(), "harrierd");
  return parse_command_line(static_cast<int>(flags.size()), flags.data());
}

// Sets an environment variable for one test.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }

  ~ScopedVariable() { ::unsetenv(name_); }

  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const char* name_;
};

}  // namespace

TEST_SUITE("command line") {
  TEST_CASE("without flags the broker serves with the defaults") {
    const Start start({});
    REQUIRE(std::holds_alternative<LoadedConfig>(start.result));
    CHECK(std::get<LoadedConfig>(start.result).config.store.data_dir == "data");
    CHECK(start.out.str().empty());
    CHECK(start.err.str().empty());
  }

  TEST_CASE("--set outranks --data-dir wherever they stand") {
    const Start start({"--set", "data_dir=/b", "--set=heartbeat=5", "--data-dir", "/a"});
    const Config& config = std::get<LoadedConfig>(start.result).config;
    CHECK(config.store.data_dir == "/b");
    CHECK(config.session.heartbeat_s == 5);
  }

  TEST_CASE("a value may hold equals signs, commas and blanks") {
    const auto line = parsed({"--set", "default_pass=a=b, c"});
    REQUIRE(line.has_value());
    REQUIRE(line->overrides.size() == 1);
    CHECK(line->overrides[0].key == "default_pass");
    CHECK(line->overrides[0].value == "a=b, c");
  }

  TEST_CASE("the environment stands in for flags that are not given") {
    const ScopedVariable file("HARRIER_CONFIG_FILE", "/env.conf");
    const ScopedVariable directory("HARRIER_DATA_DIR", "/env");
    CHECK(parsed({})->config_file == "/env.conf");
    CHECK(parsed({})->overrides.at(0).value == "/env");
    CHECK(parsed({"--config", "/flag.conf"})->config_file == "/flag.conf");
    CHECK(parsed({"-d", "/flag"})->overrides.at(0).value == "/flag");
  }

  TEST_CASE("flags that ask for a text print it and end with 0") {
    struct Row {
      const char* flag;
      const char* shown;
    };

    for (const Row& row : {Row{"--help", "--set KEY=VALUE"}, Row{"--version", "harrierd 0."},
                           Row{"--config-keys", "heartbeat = 60"},
                           Row{"--print-default-config", "\n# heartbeat = 60\n"},
                           Row{"--check-config", "The configuration is valid.\n"}}) {
      CAPTURE(row.flag);
      const Start start({row.flag});
      CHECK(start.exit_code() == 0);
      CHECK(start.out.str().find(row.shown) != std::string::npos);
      CHECK(start.err.str().empty());
    }
  }

  TEST_CASE("a flag that is none ends with 64 and points to --help") {
    for (const char* flag : {"--nonsense", "--set", "--set=heartbeat", "--set==1", "extra"}) {
      CAPTURE(flag);
      const Start start({flag});
      CHECK(start.exit_code() == 64);
      CHECK(start.err.str().find("harrierd --help lists the flags.") != std::string::npos);
    }
  }

  TEST_CASE("a bad configuration ends with 1, a missing file with 66") {
    const Start bad({"--set", "hearbeat=1"});
    CHECK(bad.exit_code() == 1);
    CHECK(bad.err.str() == "--set: unknown key 'hearbeat'; did you mean 'heartbeat'?\n");
    CHECK(Start({"--config", "/nowhere/harrier.conf"}).exit_code() == 66);
    CHECK(Start({"--config", "/nowhere/harrier.conf", "--check-config"}).exit_code() == 66);
  }

  TEST_CASE("--accept-data-loss reaches the store, and only when it is given") {
    CHECK_FALSE(std::get<LoadedConfig>(Start({}).result).config.store.accept_data_loss);
    CHECK(
        std::get<LoadedConfig>(Start({"--accept-data-loss"}).result).config.store.accept_data_loss);
  }

  TEST_CASE("--check-data asks for a check of the data directory, not for a start") {
    const Start start({"--check-data", "--data-dir", "/srv/mq"});
    REQUIRE(std::holds_alternative<DataCheck>(start.result));
    CHECK(std::get<DataCheck>(start.result).loaded.config.store.data_dir == "/srv/mq");
  }

  TEST_CASE("--check-config shows warnings") {
    const Start start({"--check-config", "--set", "mqtt.port=1883"});
    CHECK(start.exit_code() == 0);
    CHECK(start.err.str() == "warning: known to RabbitMQ but without effect here: mqtt.port\n");
  }
}
