#include "broker/config/config_file.h"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <system_error>
#include <unordered_map>
#include <utility>

#include <fmt/core.h>

#include "broker/config/config_keys.h"
#include "broker/config/nearest_key.h"
#include "broker/config/rabbitmq_keys.h"
#include "broker/config/version.h"

namespace harrier {
namespace {

constexpr std::size_t kFileBytesMax = std::size_t{1} << 20;

// One `key = value`, from whichever source.
struct Setting {
  std::size_t line;   // in the file; past every line for an override
  std::string place;  // "harrier.conf:12" or "--set"
  std::string key;
  std::string value;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// RabbitMQ writes a dot inside the last part of a key as \.
std::string without_escapes(std::string_view key) {
  std::string out;
  for (std::size_t i = 0; i < key.size(); ++i) {
    const bool escape = key[i] == '\\' && i + 1 < key.size() && key[i + 1] == '.';
    if (!escape) out += key[i];
  }
  return out;
}

// Messages are one line each and may end up in a terminal: what stands in the file is shown
// without its control characters.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? '?' : c;
  }
  return out;
}

// The value behind the equals sign: up to a comment, or between single quotes, where \' is a quote.
Result<std::string, std::string> read_value(std::string_view text) {
  if (text.empty() || text.front() != '\'') {
    const std::string_view value = trimmed(text.substr(0, text.find('#')));
    if (value.empty()) return fail(std::string("has no value; write '' for an empty one"));
    return std::string(value);
  }
  std::string value;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\'') {
      const std::string_view rest = trimmed(text.substr(i + 1));
      if (rest.empty() || rest.front() == '#') return value;
      return fail(std::string("has text after the closing quote; write \\' for a quote inside"));
    }
    if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '\'') ++i;
    value += text[i];
  }
  return fail(std::string("has no closing quote; end the value with '"));
}

// Replaces $(NAME) by the environment variable of that name.
Result<std::string, std::string> expand_environment(std::string_view value) {
  std::string out;
  while (true) {
    const std::size_t start = value.find("$(");
    const std::size_t end = start == std::string_view::npos ? start : value.find(')', start);
    if (end == std::string_view::npos) return out.append(value);
    const std::string name(value.substr(start + 2, end - start - 2));
    const char* found = std::getenv(name.c_str());
    if (found == nullptr) {
      return fail(fmt::format("needs the environment variable {}; set it", name));
    }
    out.append(value.substr(0, start)).append(found);
    value.remove_prefix(end + 1);
  }
}

// Gathers settings, then applies them in order; collects every complaint on the way.
class Loader {
 public:
  Loader() { loaded_.config.session.version = version(); }

  void read(std::string_view text, std::string_view name) {
    for (std::size_t line = 1; !text.empty(); ++line) {
      const std::size_t end = text.find('\n');
      const std::string_view content = trimmed(text.substr(0, end));
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (content.empty() || content.front() == '#') continue;
      read_line(content, line, fmt::format("{}:{}", name, line));
    }
    warn_of_repeated_keys();
  }

  void add(Setting setting) { settings_.push_back(std::move(setting)); }

  Result<LoadedConfig, ConfigErrors> finish() {
    std::unordered_map<std::string_view, std::size_t> last_of_key;
    for (std::size_t i = 0; i < settings_.size(); ++i)
      last_of_key[settings_[i].key] = i;
    for (std::size_t i = 0; i < settings_.size(); ++i) {
      apply(settings_[i], last_of_key[settings_[i].key] == i);
    }
    warn_of_rabbitmq_keys();
    if (loaded_.config.session.listeners.empty()) {
      warn("no AMQP listener is configured: no client can connect");
    }
    if (errors_.empty()) return std::move(loaded_);
    ConfigErrors errors;
    for (auto& [line, text] : errors_)
      errors.lines.push_back(std::move(text));
    if (errors_.size() >= kErrorsMax) errors.lines.emplace_back("further errors are not shown");
    return fail(std::move(errors));
  }

 private:
  void warn(std::string_view text) { loaded_.warnings.push_back(printable(text)); }

  // Nobody reads more, and each may cost a search for the nearest key.
  static constexpr std::size_t kErrorsMax = 100;

  void complain(std::size_t line, std::string_view text) { errors_.emplace(line, printable(text)); }

  void read_line(std::string_view content, std::size_t line, std::string place) {
    const std::size_t equals = content.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      complain(line, fmt::format("{}: '{}' is no setting; write KEY = VALUE, or # before a comment",
                                 place, content.substr(0, 60)));
      return;
    }
    const std::string_view key = trimmed(content.substr(0, equals));
    Result<std::string, std::string> value = read_value(trimmed(content.substr(equals + 1)));
    if (!value) {
      complain(line, fmt::format("{}: {} {}", place, key, value.error()));
      return;
    }
    settings_.push_back({line, std::move(place), without_escapes(key), std::move(*value)});
  }

  void warn_of_repeated_keys() {
    std::unordered_map<std::string_view, const Setting*> seen;
    for (const Setting& setting : settings_) {
      const auto [earlier, first] = seen.emplace(setting.key, &setting);
      if (first) continue;
      warn(fmt::format("{}: '{}' was set at {} already; this one holds", setting.place, setting.key,
                       earlier->second->place));
      earlier->second = &setting;
    }
  }

  // A setting that a later one outranks is checked all the same: it is a mistake in the file.
  void apply(const Setting& setting, bool holds) {
    if (errors_.size() >= kErrorsMax) return;
    const auto [key, part] = find_config_key(setting.key);
    if (key == nullptr) {
      apply_unknown(setting);
      return;
    }
    Result<std::string, std::string> value = expand_environment(setting.value);
    if (value && value->starts_with("encrypted:")) {
      value =
          fail(std::string("is encrypted, which is not supported; use $(NAME) to keep secrets "
                           "in the environment"));
    }
    if (!value) {
      complain(setting.line, fmt::format("{}: {} {}", setting.place, setting.key, value.error()));
      return;
    }
    if (const auto* list = std::get_if<ListValue>(&key->value);
        list != nullptr && holds && started_lists_.insert(key).second) {
      list->clear(loaded_.config);
    }
    Config scratch;
    if (!apply_value(*key, part, *value, holds ? loaded_.config : scratch)) {
      complain(setting.line,
               fmt::format("{}: {} = '{}' is not a valid value; give {}", setting.place,
                           setting.key, *value, describe_values(*key)));
    }
  }

  void apply_unknown(const Setting& setting) {
    if (is_rabbitmq_only_key(setting.key)) {
      rabbitmq_keys_.insert(setting.key);
      return;
    }
    const std::optional<std::string> near = nearest_config_key(setting.key);
    complain(setting.line,
             fmt::format("{}: unknown key '{}'; {}", setting.place, setting.key,
                         near ? fmt::format("did you mean '{}'?", *near)
                              : std::string("harrierd --config-keys lists the known ones")));
  }

  void warn_of_rabbitmq_keys() {
    if (rabbitmq_keys_.empty()) return;
    std::string names;
    for (const std::string& key : rabbitmq_keys_)
      names += (names.empty() ? "" : ", ") + key;
    warn("known to RabbitMQ but without effect here: " + names);
  }

  std::vector<Setting> settings_;
  LoadedConfig loaded_;
  std::multimap<std::size_t, std::string> errors_;  // by line
  std::set<const ConfigKey*> started_lists_;
  std::set<std::string> rabbitmq_keys_;
};

Result<LoadedConfig, ConfigErrors> finish(Loader& loader,
                                          std::span<const ConfigOverride> overrides) {
  for (const ConfigOverride& over : overrides)
    loader.add({std::string::npos, over.origin, over.key, over.value});
  return loader.finish();
}

ConfigErrors unreadable(const std::filesystem::path& path, const std::string& why) {
  return {{fmt::format("{}: {}; name a readable file, or none to run with the defaults",
                       path.string(), why)},
          kExitNoConfig};
}

}  // namespace

Result<LoadedConfig, ConfigErrors> parse_config(std::string_view text, std::string_view name,
                                                std::span<const ConfigOverride> overrides) {
  Loader loader;
  loader.read(text, name);
  return finish(loader, overrides);
}

Result<LoadedConfig, ConfigErrors> load_config(const std::optional<std::filesystem::path>& path,
                                               std::span<const ConfigOverride> overrides) {
  if (!path) return parse_config("", "", overrides);

  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(*path, error);
  if (status.type() == std::filesystem::file_type::directory) {
    return fail(unreadable(*path, "is a directory"));
  }
  errno = 0;
  std::ifstream file(*path, std::ios::binary);
  if (!file) return fail(unreadable(*path, std::generic_category().message(errno)));
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad()) return fail(unreadable(*path, "cannot be read"));
  if (text.size() > kFileBytesMax) return fail(unreadable(*path, "is larger than 1 MiB"));
  return parse_config(text, path->string(), overrides);
}

}  // namespace harrier
