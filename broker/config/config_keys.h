#pragma once

#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "broker/config/config.h"

namespace harrier {

// The one table of what harrier.conf may say. The parser, `harrierd --config-keys` and
// conf/harrier.conf are made from it; adding a key is adding a row.

// A count, a time or a size. `zero`, when not empty, says what 0 means although it is below `min`.
struct NumberValue {
  std::uint64_t min;
  std::uint64_t max;
  std::string_view unit;
  std::string_view zero;
  void (*set)(Config& config, std::uint64_t value);
};

struct FlagValue {
  void (*set)(Config& config, bool value);
};

// Anything else that stands for one value. `set` says whether the text was one of `form`.
struct TextValue {
  std::string_view form;
  bool (*set)(Config& config, std::string_view value);
};

// A key ending in ".*", given once per item; the first one given replaces the default list. `part`
// is what stands for the star.
struct ListValue {
  std::string_view form;
  void (*clear)(Config& config);
  bool (*add)(Config& config, std::string_view part, std::string_view value);
};

struct ConfigKey {
  std::string_view name;
  std::string_view section;
  std::variant<NumberValue, FlagValue, TextValue, ListValue> value;
  std::string (*show)(const Config& config);  // as it would be written; for a list its first item
  std::string_view example_part;              // for a list: what the star is in the printed example
  std::string_view help;
};

std::span<const ConfigKey> config_keys();

// "listeners.tcp." of "listeners.tcp.*", nothing of a name without a star.
std::string_view list_prefix(std::string_view name);

// The row that decides `name`, with what stands for the star; null when there is none.
struct KeyMatch {
  const ConfigKey* key = nullptr;
  std::string_view part;  // borrowed from `name`
};

KeyMatch find_config_key(std::string_view name);

// What may be given for `key`, its range included: "seconds, 0..65535".
std::string describe_values(const ConfigKey& key);

// Puts `value` into `config`. False, with `config` unchanged, when it is not what describe_values
// says. The caller clears a list before its first item.
bool apply_value(const ConfigKey& key, std::string_view part, std::string_view value,
                 Config& config);

// For `harrierd --config-keys`: every key with its values, default and meaning.
void print_config_keys(std::ostream& out);

// For `harrierd --print-default-config`: a configuration file that says nothing but the defaults,
// every one of them commented out.
void print_default_config(std::ostream& out);

}  // namespace harrier
