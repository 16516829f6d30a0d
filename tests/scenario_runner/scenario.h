#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// A scenario file as steps. The language is described in tests/scenarios/README.md.

namespace harrier::scenario {

// Why a scenario failed, or could not be understood, at which line of it.
class Failure : public std::runtime_error {
 public:
  Failure(int line, const std::string& text) : std::runtime_error(text), line_(line) {}

  int line() const { return line_; }

 private:
  int line_;
};

// One word of a line as it was written, quotes and braces included.
using Word = std::string;

struct Step {
  int line = 0;
  std::string connection = "A";
  std::optional<std::uint16_t> channel;  // as selected; absent: the verb's default
  bool repeated = false;                 // `await`: again until the expectation holds
  std::string verb;
  std::vector<Word> words;
  std::optional<std::vector<Word>> expectation;  // what follows "->"
};

struct Scenario {
  std::string file;
  std::string rule;                       // the opening comment
  std::vector<std::string> requirements;  // restart
  std::string only;                       // a broker family and the reason, or empty
  std::string differs;                    // how RabbitMQ 3.10 behaves instead, or empty
  std::vector<Step> steps;
};

// Throws Failure.
Scenario parse_scenario(const std::string& file, std::string_view text);

// The text a word stands for: quotes gone, escapes resolved. Throws std::invalid_argument.
std::string unquote(std::string_view word);

// Whether the word is written without quotes and braces.
bool is_plain(std::string_view word);

// name=value, name~"regex" or name>={part}. The name starts with a letter and is never quoted.
struct Option {
  enum class Compare {
    equal,
    regex,
    contains,
  };

  std::string name;
  Compare compare = Compare::equal;
  Word value;
};

std::optional<Option> parse_option(std::string_view word);

// `0a0b "text" ff` as octets. Throws std::invalid_argument.
std::string parse_octets(const std::vector<Word>& words);

}  // namespace harrier::scenario
