#include "tests/scenario_runner/scenario.h"

#include <cctype>
#include <charconv>
#include <utility>

namespace harrier::scenario {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

bool is_letter(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Splits a file into statements: a line and the indented lines that continue it.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  // The next statement's words; nothing at the end.
  std::vector<Word> next_statement() {
    std::vector<Word> words;
    while (words.empty() && at_ < text_.size()) {
      skip_blank_and_comments();
      line = line_;
      while (!at_statement_end())
        words.push_back(read_word());
    }
    return words;
  }

  // The rest of the current line, raw: for opening comments and header lines.
  std::string_view rest_of_line() {
    const std::size_t end = std::min(text_.find('\n', at_), text_.size());
    const std::string_view rest = text_.substr(at_, end - at_);
    at_ = end;
    skip_newline();
    return rest;
  }

  bool looking_at(std::string_view prefix) const { return text_.substr(at_).starts_with(prefix); }

  bool at_end() const { return at_ >= text_.size(); }

  int line = 1;  // of the statement read last

 private:
  void skip_newline() {
    if (at_ < text_.size() && text_[at_] == '\n') {
      ++at_;
      ++line_;
    }
  }

  void skip_blank_and_comments() {
    while (at_ < text_.size()) {
      if (text_[at_] == '#') {
        rest_of_line();
      } else if (text_[at_] == '\n') {
        skip_newline();
      } else if (is_space(text_[at_])) {
        ++at_;
      } else {
        return;
      }
    }
  }

  // Skips to the next word of this statement. True if there is none.
  bool at_statement_end() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (is_space(c)) {
        ++at_;
      } else if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == '\n') {
        skip_newline();
        if (at_ >= text_.size() || !is_space(text_[at_])) return true;
      } else {
        return false;
      }
    }
    return true;
  }

  Word read_word() {
    Word word;
    int depth = 0;
    bool quoted = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') {
        if (!quoted && depth == 0) break;
        skip_line_break();
        if (quoted) word += ' ';
        continue;
      }
      if (!quoted && depth == 0 && is_space(c)) break;
      word += c;
      if (quoted) {
        if (c == '\\' && at_ + 1 < text_.size()) {
          word += text_[++at_];
        } else if (c == '"') {
          quoted = false;
        }
      } else if (c == '"') {
        quoted = true;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if (c == '}' || c == ']') {
        --depth;
      }
    }
    if (quoted || depth > 0) throw Failure(line, "quote or brace not closed: " + word);
    return word;
  }

  // A word goes on in the next line: the indentation does not count. Ends on its last octet.
  void skip_line_break() {
    ++line_;
    while (at_ + 1 < text_.size() && is_space(text_[at_ + 1]))
      ++at_;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && is_space(text.back()))
    text.remove_suffix(1);
  return text;
}

// "B:", "2:" or "B/2:".
bool parse_selector(std::string_view word, Step& step) {
  if (word.size() < 2 || word.back() != ':') return false;
  word.remove_suffix(1);
  std::size_t letters = 0;
  while (letters < word.size() && is_letter(word[letters]))
    ++letters;
  const std::string_view name = word.substr(0, letters);
  std::string_view number = word.substr(letters);
  if (!name.empty() && number.starts_with('/')) number.remove_prefix(1);
  std::uint16_t channel = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), channel);
  if (!number.empty()) {
    if (error != std::errc() || end != number.data() + number.size()) return false;
    step.channel = channel;
  }
  if (!name.empty()) step.connection = name;
  return true;
}

Step parse_step(int line, std::vector<Word> words) {
  Step step;
  step.line = line;
  std::size_t at = 0;
  if (parse_selector(words[at], step)) ++at;
  if (at < words.size() && words[at] == "await") {
    step.repeated = true;
    ++at;
  }
  if (at == words.size()) throw Failure(line, "a verb is missing");
  step.verb = words[at++];
  for (; at < words.size(); ++at) {
    if (words[at] == "->" && !step.expectation) {
      step.expectation.emplace();
    } else if (step.expectation) {
      step.expectation->push_back(std::move(words[at]));
    } else {
      step.words.push_back(std::move(words[at]));
    }
  }
  if (step.expectation && step.expectation->empty()) {
    throw Failure(line, "an expectation is missing after ->");
  }
  return step;
}

}  // namespace

Scenario parse_scenario(const std::string& file, std::string_view text) {
  Scenario scenario;
  scenario.file = file;
  Lexer lexer(text);
  while (lexer.looking_at("#")) {
    const std::string_view line = lexer.rest_of_line();
    scenario.rule += std::string(trimmed(line.substr(1))) + "\n";
  }
  if (scenario.rule.empty()) throw Failure(1, "a scenario begins with its rule as a comment");
  for (;;) {
    if (lexer.looking_at("requires:")) {
      scenario.requirements.emplace_back(trimmed(lexer.rest_of_line().substr(9)));
    } else if (lexer.looking_at("only:")) {
      scenario.only = trimmed(lexer.rest_of_line().substr(5));
    } else if (lexer.looking_at("differs:")) {
      scenario.differs = trimmed(lexer.rest_of_line().substr(8));
    } else {
      break;
    }
  }
  for (;;) {
    std::vector<Word> words = lexer.next_statement();
    if (words.empty()) break;
    scenario.steps.push_back(parse_step(lexer.line, std::move(words)));
  }
  if (scenario.steps.empty()) throw Failure(1, "a scenario has at least one step");
  return scenario;
}

bool is_plain(std::string_view word) {
  return word.find_first_of("\"{[(") == std::string_view::npos;
}

std::string unquote(std::string_view word) {
  std::string text;
  bool quoted = false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const char c = word[i];
    if (c == '"') {
      quoted = !quoted;
    } else if (!quoted || c != '\\') {
      text += c;
    } else {
      const char escape = ++i < word.size() ? word[i] : '\0';
      switch (escape) {
        case '0':
          text += '\0';
          break;
        case 'n':
          text += '\n';
          break;
        case 'r':
          text += '\r';
          break;
        case 'x':
          text += parse_octets({std::string(word.substr(i + 1, 2))});
          i += 2;
          break;
        case '"':
        case '\\':
          text += escape;
          break;
        default:
          throw std::invalid_argument("unknown escape in " + std::string(word));
      }
    }
  }
  return text;
}

std::optional<Option> parse_option(std::string_view word) {
  if (word.empty() || !is_letter(word[0])) return std::nullopt;
  std::size_t end = 1;
  while (end < word.size() && (is_letter(word[end]) || is_digit(word[end]) || word[end] == '-' ||
                               word[end] == '_' || word[end] == '.')) {
    ++end;
  }
  Option option;
  option.name = word.substr(0, end);
  const std::string_view rest = word.substr(end);
  if (rest.starts_with(">=")) {
    option.compare = Option::Compare::contains;
    option.value = rest.substr(2);
  } else if (rest.starts_with("=")) {
    option.value = rest.substr(1);
  } else if (rest.starts_with("~")) {
    option.compare = Option::Compare::regex;
    option.value = rest.substr(1);
  } else {
    return std::nullopt;
  }
  return option;
}

std::string parse_octets(const std::vector<Word>& words) {
  std::string octets;
  for (const Word& word : words) {
    if (word.starts_with('"')) {
      octets += unquote(word);
      continue;
    }
    if (word.size() % 2 != 0) throw std::invalid_argument("odd number of hex digits: " + word);
    for (std::size_t i = 0; i < word.size(); i += 2) {
      unsigned value = 0;
      const auto [end, error] = std::from_chars(&word[i], &word[i] + 2, value, 16);
      if (error != std::errc() || end != &word[i] + 2) {
        throw std::invalid_argument("not hex: " + word);
      }
      octets += static_cast<char>(value);
    }
  }
  return octets;
}

}  // namespace harrier::scenario
