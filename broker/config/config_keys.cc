#include "broker/config/config_keys.h"

#include <limits>
#include <optional>
#include <ostream>
#include <type_traits>
#include <utility>
#include <vector>

#include "broker/config/resource_keys.h"
#include "broker/config/value_syntax.h"
#include "broker/config/version.h"

namespace harrier {
namespace {

constexpr std::string_view kListening = "Listening";
constexpr std::string_view kConnections = "Connections";
constexpr std::string_view kUsers = "Users and log-in";
constexpr std::string_view kStorage = "Storage and threads";
constexpr std::string_view kResources = "Memory and disk limits";
constexpr std::string_view kLogging = "Logging";
constexpr std::string_view kIdentity = "What the broker calls itself";

constexpr std::size_t kShortStringMax = 255;  // names travel as AMQP short strings
constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kGiB = 1ULL << 30;

// The field that a chain of member pointers leads to, from a Config.
template <auto kMember, auto... kRest>
constexpr auto& field(auto& object) {
  if constexpr (sizeof...(kRest) == 0) {
    return object.*kMember;
  } else {
    return field<kRest...>(object.*kMember);
  }
}

template <auto... kPath>
using FieldType = std::remove_reference_t<decltype(field<kPath...>(std::declval<Config&>()))>;

std::string written(bool value) {
  return value ? "true" : "false";
}

std::string written(const std::string& value) {
  const bool plain = !value.empty() && value.find_first_of("#' ") == std::string::npos;
  return plain ? value : "'" + value + "'";
}

std::string written(LogLevel level) {
  return std::string(to_string(level));
}

template <class T>

requires std::is_integral_v<T> std::string written(T value) {
  return std::to_string(value);
}

template <auto... kPath>
std::string show(const Config& config) {
  return written(field<kPath...>(config));
}

// What every row begins with.
struct About {
  std::string_view name;
  std::string_view section;
  std::string_view help;
};

struct Range {
  std::uint64_t min;
  std::uint64_t max;
};

template <auto... kPath>
consteval ConfigKey number(About about, std::string_view unit, Range range,
                           std::string_view zero = {}) {
  // Does not compile when the field cannot hold the whole range.
  if (range.max > std::numeric_limits<FieldType<kPath...>>::max()) throw "field too narrow";
  const NumberValue value{range.min, range.max, unit, zero,
                          [](Config& config, std::uint64_t given) {
                            field<kPath...>(config) = static_cast<FieldType<kPath...>>(given);
                          }};
  return {about.name, about.section, value, show<kPath...>, "", about.help};
}

template <auto... kPath>
consteval ConfigKey flag(About about) {
  const FlagValue value{[](Config& config, bool given) { field<kPath...>(config) = given; }};
  return {about.name, about.section, value, show<kPath...>, "", about.help};
}

using SetText = bool (*)(Config& config, std::string_view value);

template <auto... kPath>
bool set_any(Config& config, std::string_view value) {
  field<kPath...>(config) = value;
  return true;
}

template <auto... kPath>
consteval ConfigKey text(About about, std::string_view form, SetText set = set_any<kPath...>) {
  return {about.name, about.section, TextValue{form, set}, show<kPath...>, "", about.help};
}

// A name of users, virtual hosts and the like.
template <auto... kPath>
consteval ConfigKey name(About about) {
  return text<kPath...>(about, "text, 1..255 octets", [](Config& config, std::string_view value) {
    const bool fits = !value.empty() && value.size() <= kShortStringMax;
    if (fits) field<kPath...>(config) = value;
    return fits;
  });
}

template <auto... kPath>
consteval ConfigKey log_level(About about) {
  return text<kPath...>(about, "debug, info, notice, warning, error, critical, none",
                        [](Config& config, std::string_view value) {
                          const std::optional<LogLevel> level = parse_log_level(value);
                          if (level) field<kPath...>(config) = *level;
                          return level.has_value();
                        });
}

// `KEY.<item> = true` puts the item on the list, false leaves it off.
template <auto... kPath>
consteval ConfigKey items_switched_on(About about, std::string_view example_part) {
  const ListValue value{"true, false", [](Config& config) { field<kPath...>(config).clear(); },
                        [](Config& config, std::string_view part, std::string_view given) {
                          const std::optional<bool> on = parse_flag(given);
                          if (!on) return false;
                          std::vector<std::string>& items = field<kPath...>(config);
                          std::erase(items, part);
                          if (*on) items.emplace_back(part);
                          return true;
                        }};
  const auto show = [](const Config&) { return std::string("true"); };
  return {about.name, about.section, value, show, example_part, about.help};
}

// The list of the key above it, emptied.
template <auto... kPath>
consteval ConfigKey only_none(About about) {
  const TextValue value{"none", [](Config& config, std::string_view given) {
                          if (given == "none") field<kPath...>(config).clear();
                          return given == "none";
                        }};
  const auto show = [](const Config&) { return std::string("none"); };
  return {about.name, about.section, value, show, "", about.help};
}

void clear_listeners(Config& config) {
  config.session.listeners.clear();
}

bool add_listener(Config& config, std::string_view, std::string_view value) {
  std::optional<ListenerAddress> listener = parse_listener(value);
  if (listener) config.session.listeners.push_back(std::move(*listener));
  return listener.has_value();
}

std::string show_listener(const Config& config) {
  return to_string(config.session.listeners.front());
}

void clear_mechanisms(Config& config) {
  config.session.auth_mechanisms.clear();
}

bool add_mechanism(Config& config, std::string_view, std::string_view value) {
  if (value != "PLAIN" && value != "AMQPLAIN" && value != "ANONYMOUS") return false;
  std::vector<std::string>& mechanisms = config.session.auth_mechanisms;
  std::erase(mechanisms, value);
  mechanisms.emplace_back(value);
  return true;
}

std::string show_mechanism(const Config& config) {
  return config.session.auth_mechanisms.front();
}

bool set_anonymous_user(Config& config, std::string_view value) {
  if (value.empty() || value.size() > kShortStringMax) return false;
  config.auth.anonymous_login_user = value == "none" ? "" : value;
  return true;
}

bool set_data_dir(Config& config, std::string_view value) {
  if (value.empty()) return false;
  config.store.data_dir = value;
  return true;
}

bool set_shards(Config& config, std::string_view value) {
  constexpr std::uint64_t kShardsMax = 64;
  const std::optional<std::uint64_t> count = value == "auto" ? 0 : parse_number(value);
  if (!count || *count > kShardsMax || (*count == 0 && value != "auto")) return false;
  config.runtime.shards = static_cast<std::uint32_t>(*count);
  return true;
}

std::string show_shards(const Config& config) {
  return config.runtime.shards == 0 ? "auto" : std::to_string(config.runtime.shards);
}

bool set_log_file(Config& config, std::string_view value) {
  if (value.empty()) return false;
  config.log.file = value == "false" ? "" : value;
  return true;
}

std::string show_log_file(const Config& config) {
  return config.log.file.empty() ? "false" : config.log.file;
}

constexpr auto kSession = &Config::session;
constexpr auto kTcp = &SessionConfig::tcp;
constexpr auto kAuth = &Config::auth;
constexpr auto kPermissions = &AuthConfig::default_permissions;
constexpr auto kStore = &Config::store;
constexpr auto kRuntime = &Config::runtime;
constexpr auto kLog = &Config::log;

constexpr ConfigKey kKeys[] = {
    {"listeners.tcp.*", kListening,
     ListValue{"PORT or ADDRESS:PORT, the address a number; 0 takes any free port", clear_listeners,
               add_listener},
     show_listener, "default",
     "Where AMQP clients connect, one key per address. A port alone listens on every interface."},
    only_none<kSession, &SessionConfig::listeners>(
        {"listeners.tcp", kListening, "'none' listens nowhere; otherwise leave it out."}),
    number<kSession, kTcp, &TcpOptions::backlog>(
        {"tcp_listen_options.backlog", kListening,
         "Connections the kernel holds until the broker accepts them."},
        "connections", {1, 65'535}),
    flag<kSession, kTcp, &TcpOptions::nodelay>(
        {"tcp_listen_options.nodelay", kListening, "Sends small segments at once (TCP_NODELAY)."}),
    flag<kSession, kTcp, &TcpOptions::keepalive>(
        {"tcp_listen_options.keepalive", kListening,
         "Lets the kernel probe idle connections. Heartbeats find a dead peer sooner."}),
    number<kSession, kTcp, &TcpOptions::sndbuf_bytes>(
        {"tcp_listen_options.sndbuf", kListening, "Send buffer of one connection."}, "octets",
        {1024, kGiB}, "the kernel decides"),
    number<kSession, kTcp, &TcpOptions::recbuf_bytes>(
        {"tcp_listen_options.recbuf", kListening, "Receive buffer of one connection."}, "octets",
        {1024, kGiB}, "the kernel decides"),
    flag<kSession, kTcp, &TcpOptions::linger>(
        {"tcp_listen_options.linger.on", kListening,
         "Whether a closed connection gives up unsent octets after linger.timeout."}),
    number<kSession, kTcp, &TcpOptions::linger_s>(
        {"tcp_listen_options.linger.timeout", kListening,
         "See linger.on; 0 resets the connection at once."},
        "seconds", {0, 3600}),

    number<kSession, &SessionConfig::heartbeat_s>(
        {"heartbeat", kConnections,
         "Heartbeat interval proposed to clients, who have the last word. 0 proposes none."},
        "seconds", {0, 65'535}),
    number<kSession, &SessionConfig::channel_max>(
        {"channel_max", kConnections, "Channels one connection may have open at once."}, "channels",
        {1, 65'535}, "no limit"),
    number<kSession, &SessionConfig::frame_max>(
        {"frame_max", kConnections, "Largest frame in either direction, as proposed to clients."},
        "octets", {4096, 128 * kMiB}, "no limit"),
    number<kSession, &SessionConfig::initial_frame_max>(
        {"initial_frame_max", kConnections,
         "Largest frame before a client has logged in. Raise it for very long credentials."},
        "octets", {4096, kMiB}),
    number<kSession, &SessionConfig::max_message_bytes>(
        {"max_message_size", kConnections,
         "Largest body of one message; a larger one closes the channel."},
        "octets", {1, 512 * kMiB}),
    number<kSession, &SessionConfig::handshake_timeout_ms>(
        {"handshake_timeout", kConnections,
         "Time a client has from connecting to connection.open."},
        "milliseconds", {100, 3'600'000}),
    number<kSession, &SessionConfig::consumer_timeout_ms>(
        {"consumer_timeout", kConnections,
         "How long a delivery may stay unacknowledged before its channel is closed; "
         "x-consumer-timeout sets it for one queue."},
        "milliseconds", {0, 4'294'967'295}, "for ever"),
    number<kSession, &SessionConfig::tx_messages_max>(
        {"tx_max_messages", kConnections,
         "Messages one transaction may publish; one more closes the channel."},
        "messages", {1, 10'000'000}),
    number<kSession, &SessionConfig::tx_bytes_max>(
        {"tx_max_size", kConnections, "Bodies of the messages one transaction may publish."},
        "octets", {kMiB, 64 * kGiB}),

    name<kAuth, &AuthConfig::default_user>(
        {"default_user", kUsers, "Name of the user that exists from the start."}),
    text<kAuth, &AuthConfig::default_pass>(
        {"default_pass", kUsers,
         "Password of that user. With an empty one ('') nobody can log in as it."},
        "text"),
    name<kAuth, &AuthConfig::default_vhost>(
        {"default_vhost", kUsers, "Name of the virtual host that exists from the start."}),
    items_switched_on<kAuth, &AuthConfig::default_user_tags>(
        {"default_user_tags.*", kUsers, "Management tags of the default user, one key per tag."},
        "administrator"),
    text<kAuth, kPermissions, &PermissionPatterns::configure>(
        {"default_permissions.configure", kUsers,
         "What the default user may declare and delete in the default virtual host. '' is "
         "nothing."},
        "regular expression"),
    text<kAuth, kPermissions, &PermissionPatterns::write>(
        {"default_permissions.write", kUsers, "What the default user may publish to."},
        "regular expression"),
    text<kAuth, kPermissions, &PermissionPatterns::read>(
        {"default_permissions.read", kUsers, "What the default user may consume from."},
        "regular expression"),
    items_switched_on<kAuth, &AuthConfig::loopback_users>(
        {"loopback_users.*", kUsers,
         "Users who may log in from this machine only, one key per user."},
        "guest"),
    only_none<kAuth, &AuthConfig::loopback_users>(
        {"loopback_users", kUsers,
         "'none' lets every user log in from anywhere; otherwise leave it out."}),
    {"auth_mechanisms.*", kUsers,
     ListValue{"PLAIN, AMQPLAIN, ANONYMOUS", clear_mechanisms, add_mechanism}, show_mechanism, "1",
     "SASL mechanisms offered to clients, one key each. By default all three."},
    text<kAuth, &AuthConfig::anonymous_login_user>(
        {"anonymous_login_user", kUsers,
         "Who a client of the mechanism ANONYMOUS is; none refuses it."},
        "text, 1..255 octets, or none", set_anonymous_user),
    text<kAuth, &AuthConfig::anonymous_login_pass>(
        {"anonymous_login_pass", kUsers, "Password of that user."}, "text"),

    text<kStore, &StoreConfig::data_dir>(
        {"data_dir", kStorage,
         "Where messages and definitions are kept; created when absent. One broker per directory."},
        "directory", set_data_dir),
    number<kStore, &StoreConfig::write_buffer_bytes>(
        {"write_buffer_size", kStorage,
         "Messages collected in memory before they become one file. A restart replays about as "
         "much."},
        "octets", {kMiB, 4 * kGiB}),
    {"shards", kStorage, TextValue{"auto, or 1..64", set_shards}, show_shards, "",
     "Threads that carry connections and queues. 'auto' goes by the processors available."},

    number<kRuntime, &RuntimeConfig::queue_memory_bytes>(
        {"queue_memory", kResources,
         "Messages in queues kept in memory, over all queues. What goes beyond is paged out."},
        "octets", {kMiB, 1024 * kGiB}),
    {"vm_memory_high_watermark.relative", kResources,
     TextValue{"more than 0, up to 1", set_memory_relative}, show_memory_relative, "",
     "Part of the memory this process may use from which on publishers are blocked."},
    {"vm_memory_high_watermark.absolute", kResources, TextValue{"octets", set_memory_absolute},
     show_memory_absolute, "",
     "The same in octets, instead of relative; of the two the last one set wins. Not set by "
     "default."},
    {"vm_memory_high_watermark_paging_ratio", kResources,
     TextValue{"more than 0, up to 1", set_paging_ratio}, show_paging_ratio, "",
     "Part of the watermark from which on queues keep a quarter of queue_memory."},
    {"total_memory_available_override_value", kResources, TextValue{"octets", set_total_memory},
     show_total_memory, "",
     "Memory this process may use, instead of what the system says. Not set by default."},
    {"disk_free_limit.absolute", kResources, TextValue{"octets", set_disk_absolute},
     show_disk_absolute, "",
     "Free space of the data directory's disk below which publishers are blocked. By default 5 % "
     "of the disk, but room for what the store may still have to write (about 500 MB, no more than "
     "a quarter of the disk) and at most 2 GB."},
    {"disk_free_limit.relative", kResources,
     TextValue{"more than 0, up to 1000", set_disk_relative}, show_disk_relative, "",
     "The same as a multiple of the memory this process may use; of the two the last one set "
     "wins. Not set by default."},

    flag<kLog, &LogSettings::console>({"log.console", kLogging, "Logs to standard error."}),
    log_level<kLog, &LogSettings::console_level>(
        {"log.console.level", kLogging, "Least severe level logged there."}),
    {"log.file", kLogging, TextValue{"file, or false", set_log_file}, show_log_file, "",
     "Logs to this file as well."},
    log_level<kLog, &LogSettings::file_level>(
        {"log.file.level", kLogging, "Least severe level logged there."}),
    text<kLog, &LogSettings::dir>(
        {"log.dir", kLogging, "Where log.file lies unless it begins with a slash."}, "directory"),
    flag<kLog, &LogSettings::exchange>(
        {"log.exchange", kLogging,
         "Publishes the log to the topic exchange amq.rabbitmq.log of the default virtual host."}),
    log_level<kLog, &LogSettings::exchange_level>(
        {"log.exchange.level", kLogging, "Least severe level published there."}),

    name<kSession, &SessionConfig::cluster_name>(
        {"cluster_name", kIdentity, "Announced to clients and shown by tools."}),
    name<kSession, &SessionConfig::product>(
        {"product.name", kIdentity,
         "Product announced to clients, for those that work with a name they know only."}),
    name<kSession, &SessionConfig::version>(
        {"product.version", kIdentity,
         "Version announced to clients; by default that of this build."}),
};

std::string written_name(const ConfigKey& key) {
  const std::string_view prefix = list_prefix(key.name);
  if (prefix.empty()) return std::string(key.name);
  return std::string(prefix) + std::string(key.example_part);
}

Config defaults() {
  Config config;
  config.session.version = version();
  return config;
}

}  // namespace

std::span<const ConfigKey> config_keys() {
  return kKeys;
}

std::string_view list_prefix(std::string_view name) {
  return name.ends_with(".*") ? name.substr(0, name.size() - 1) : std::string_view();
}

KeyMatch find_config_key(std::string_view name) {
  for (const ConfigKey& key : kKeys) {
    if (key.name == name) return {&key, {}};
    const std::string_view prefix = list_prefix(key.name);
    if (!prefix.empty() && name.size() > prefix.size() && name.starts_with(prefix)) {
      return {&key, name.substr(prefix.size())};
    }
  }
  return {};
}

std::string describe_values(const ConfigKey& key) {
  struct Describe {
    std::string operator()(const NumberValue& number) const {
      std::string text(number.unit);
      text += ", " + std::to_string(number.min) + ".." + std::to_string(number.max);
      if (!number.zero.empty()) text += ", or 0: " + std::string(number.zero);
      return text;
    }

    std::string operator()(const FlagValue&) const { return "true, false"; }

    std::string operator()(const TextValue& value) const { return std::string(value.form); }

    std::string operator()(const ListValue& list) const { return std::string(list.form); }
  };

  return std::visit(Describe(), key.value);
}

bool apply_value(const ConfigKey& key, std::string_view part, std::string_view value,
                 Config& config) {
  struct Apply {
    std::string_view part;
    std::string_view value;
    Config& config;

    bool operator()(const NumberValue& number) const {
      const std::optional<std::uint64_t> given = parse_number(value);
      if (!given) return false;
      const bool zero = *given == 0 && !number.zero.empty();
      if (!zero && (*given < number.min || *given > number.max)) return false;
      number.set(config, *given);
      return true;
    }

    bool operator()(const FlagValue& flag) const {
      const std::optional<bool> given = parse_flag(value);
      if (given) flag.set(config, *given);
      return given.has_value();
    }

    bool operator()(const TextValue& text) const { return text.set(config, value); }

    bool operator()(const ListValue& list) const { return list.add(config, part, value); }
  };

  return std::visit(Apply{part, value, config}, key.value);
}

void print_config_keys(std::ostream& out) {
  const Config config = defaults();
  std::string_view section;
  for (const ConfigKey& key : kKeys) {
    if (key.section != section) out << (section.empty() ? "" : "\n") << key.section << "\n";
    section = key.section;
    out << "\n  " << written_name(key) << " = " << key.show(config) << "\n      "
        << describe_values(key) << "\n      " << key.help << "\n";
  }
}

void print_default_config(std::ostream& out) {
  const Config config = defaults();
  out << "## Configuration of Harrier, in the form of rabbitmq.conf: KEY = VALUE, one a line.\n"
         "## Every key stands here with its default. Sizes may carry a unit: 64MiB, 128MB.\n"
         "## $(NAME) in a value is replaced by the environment variable NAME; single quotes keep\n"
         "## spaces and '#'.\n"
         "## Made by: harrierd --print-default-config\n";
  std::string_view section;
  for (const ConfigKey& key : kKeys) {
    if (key.section != section) out << "\n##\n## " << key.section << "\n##\n";
    section = key.section;
    out << "\n## " << key.help << "\n## (" << describe_values(key) << ")\n# " << written_name(key)
        << " = " << key.show(config) << "\n";
  }
}

}  // namespace harrier
