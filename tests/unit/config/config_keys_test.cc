#include "broker/config/config_keys.h"

#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <variant>

#include <doctest/doctest.h>

#include "broker/config/config_file.h"
#include "broker/config/nearest_key.h"
#include "broker/config/rabbitmq_keys.h"

using namespace harrier;

namespace {

std::string default_config() {
  std::ostringstream out;
  print_default_config(out);
  return out.str();
}

// The printed file as it is after somebody took every `# ` off a setting, with the keys left out
// that say 'none' (they empty the list their neighbour fills).
std::string default_config_with_every_key_set() {
  std::istringstream lines(default_config());
  std::string out;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# ") && !line.ends_with("= none")) out += line.substr(2) + "\n";
  }
  return out;
}

}  // namespace

TEST_SUITE("configuration keys") {
  TEST_CASE("every key has a section, a meaning of its own and values") {
    std::set<std::string_view> names;
    for (const ConfigKey& key : config_keys()) {
      CAPTURE(key.name);
      CHECK(names.insert(key.name).second);
      CHECK_FALSE(key.section.empty());
      CHECK(key.help.ends_with("."));
      CHECK_FALSE(describe_values(key).empty());
      CHECK_FALSE(is_rabbitmq_only_key(key.name));
      CHECK(key.name.ends_with(".*") == std::holds_alternative<ListValue>(key.value));
      CHECK(key.example_part.empty() != std::holds_alternative<ListValue>(key.value));
    }
  }

  TEST_CASE("every number has a range, which its description states and its setter keeps") {
    for (const ConfigKey& key : config_keys()) {
      const auto* number = std::get_if<NumberValue>(&key.value);
      if (number == nullptr) continue;
      CAPTURE(key.name);
      const std::string range = std::to_string(number->min) + ".." + std::to_string(number->max);
      CHECK(describe_values(key).find(range) != std::string::npos);

      Config config;
      for (const std::uint64_t inside : {number->min, number->max}) {
        CHECK(apply_value(key, "", std::to_string(inside), config));
        CHECK(key.show(config) == std::to_string(inside));
      }
      CHECK_FALSE(apply_value(key, "", std::to_string(number->max + 1), config));
      if (number->min > 0) {
        CHECK(apply_value(key, "", "0", config) == !number->zero.empty());
      }
    }
  }

  TEST_CASE("the printed defaults are valid and are the defaults") {
    const auto untouched = parse_config("", "empty", {});
    const auto written = parse_config(default_config_with_every_key_set(), "defaults", {});
    REQUIRE(untouched.has_value());
    REQUIRE(written.has_value());
    CHECK(written->warnings.empty());
    for (const ConfigKey& key : config_keys()) {
      CAPTURE(key.name);
      CHECK(key.show(written->config) == key.show(untouched->config));
    }
    CHECK(written->config.session.listeners == untouched->config.session.listeners);
    CHECK(written->config.auth.default_user_tags == untouched->config.auth.default_user_tags);
    CHECK(written->config.auth.loopback_users == untouched->config.auth.loopback_users);
  }

  TEST_CASE("the file as printed sets nothing") {
    const auto loaded = parse_config(default_config(), "harrier.conf", {});
    REQUIRE(loaded.has_value());
    CHECK(loaded->warnings.empty());
  }

  TEST_CASE("conf/harrier.conf is what --print-default-config prints") {
    std::ifstream file(HARRIER_CONF_FILE);
    const std::string committed{std::istreambuf_iterator<char>(file), {}};
    // Mend with: build/dev/bin/harrierd --print-default-config > conf/harrier.conf
    CHECK(committed == default_config());
  }

  TEST_CASE("--config-keys names every key with its values") {
    std::ostringstream out;
    print_config_keys(out);
    for (const ConfigKey& key : config_keys()) {
      CAPTURE(key.name);
      const std::string_view stem = key.name.substr(0, key.name.find(".*"));
      CHECK(out.str().find(stem) != std::string::npos);
      CHECK(out.str().find(describe_values(key)) != std::string::npos);
      CHECK(out.str().find(key.help) != std::string::npos);
    }
  }

  TEST_CASE("a star stands for any last part") {
    CHECK(find_config_key("listeners.tcp.default").part == "default");
    CHECK(find_config_key("listeners.tcp").key->name == "listeners.tcp");
    CHECK(find_config_key("loopback_users.a.b").part == "a.b");
    CHECK(find_config_key("listeners.tcp.").key == nullptr);
    CHECK(find_config_key("listeners").key == nullptr);
  }

  TEST_CASE("the nearest known key is suggested, a far one is not") {
    struct Row {
      const char* given = "";
      std::optional<std::string> near;
    };

    for (const Row& row : {
             Row{"hearbeat", "heartbeat"},
             Row{"haertbeat", "heartbeat"},
             Row{"heartbeats", "heartbeat"},
             Row{"frame-max", "frame_max"},
             Row{"listener.tcp.1", "listeners.tcp.1"},
             Row{"loopback_user.bob", "loopback_users.bob"},
             Row{"tcp_listen_options.nodelai", "tcp_listen_options.nodelay"},
             Row{"consumer_timeot", "consumer_timeout"},
             Row{"zebra", std::nullopt},
             Row{"", std::nullopt},
         }) {
      CAPTURE(row.given);
      CHECK(nearest_config_key(row.given) == row.near);
    }
    CHECK_FALSE(nearest_config_key(std::string(100'000, 'x')).has_value());
  }
}
