#include "tests/scenario_runner/expectation.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "tests/scenario_runner/method_text.h"
#include "tests/scenario_runner/value_text.h"

namespace harrier::scenario {
namespace {

struct Abbreviation {
  std::string_view word;
  std::string_view meaning;
};

constexpr Abbreviation kEvents[] = {
    {"deliver", "basic.deliver"},
    {"return", "basic.return"},
    {"empty", "basic.get-empty"},
    {"cancel", "basic.cancel"},
};

constexpr std::string_view kOtherEvents[] = {"nothing", "disconnected", "heartbeat",      "confirm",
                                             "nack",    "octets",       "protocol-header"};

constexpr Abbreviation kFieldNames[] = {
    {"key", "routing-key"},    {"tag", "consumer-tag"},         {"messages", "message-count"},
    {"left", "message-count"}, {"consumers", "consumer-count"},
};

// Fields that are written without their names, in this order.
struct Positions {
  std::string_view event;
  std::vector<std::string> fields;
};

const std::vector<std::string>& positions_of(std::string_view event) {
  static const Positions all_positions[] = {
      {"channel.close", {"reply-code", "reply-text"}},
      {"connection.close", {"reply-code", "reply-text"}},
      {"basic.return", {"reply-code", "reply-text"}},
      {"basic.cancel", {"consumer-tag"}},
      {"queue.delete-ok", {"message-count"}},
      {"queue.purge-ok", {"message-count"}},
      {"", {}},
  };
  const auto* found = std::find_if(std::begin(all_positions), std::end(all_positions) - 1,
                                   [&](const Positions& p) { return p.event == event; });
  return found->fields;
}

bool carries_content(std::string_view event) {
  return event == "basic.deliver" || event == "basic.get-ok" || event == "basic.return";
}

// "(50,10)"
MethodId parse_ids(std::string_view word) {
  MethodId ids;
  const std::size_t comma = word.find(',');
  if (comma == std::string_view::npos || word.back() != ')') {
    throw std::invalid_argument("not (class,method): " + std::string(word));
  }
  std::from_chars(word.data() + 1, word.data() + comma, ids.class_id);
  std::from_chars(word.data() + comma + 1, word.data() + word.size() - 1, ids.method_id);
  return ids;
}

Option positional(std::string name, const Word& word) {
  Option option;
  option.name = std::move(name);
  option.compare = word.starts_with("~\"") ? Option::Compare::regex : Option::Compare::equal;
  option.value = option.compare == Option::Compare::regex ? word.substr(1) : word;
  return option;
}

class ExpectationParser {
 public:
  ExpectationParser(const std::vector<Word>& words, std::optional<MethodId> blamed)
      : words_(words), blamed_(blamed) {}

  Expectation parse(const std::string& reply) {
    for (const Word& word : words_)
      expected_.text += (expected_.text.empty() ? "" : " ") + word;
    expected_.event = event_of(words_.front());
    if (expected_.event.empty()) {
      expected_.event = reply;
    } else {
      ++at_;
    }
    if (expected_.event.empty()) throw std::invalid_argument("no such event: " + words_.front());
    for (; at_ < words_.size(); ++at_)
      take(words_[at_]);
    if (blamed_ && expected_.event.ends_with(".close")) {
      expected_.fields.push_back(
          {"class-id", Option::Compare::equal, std::to_string(blamed_->class_id)});
      expected_.fields.push_back(
          {"method-id", Option::Compare::equal, std::to_string(blamed_->method_id)});
    }
    if (expected_.event == "basic.cancel") {
      expected_.fields.push_back({"no-wait", Option::Compare::equal, "true"});
    }
    return std::move(expected_);
  }

 private:
  static std::string event_of(const Word& word) {
    for (const Abbreviation& known : kEvents) {
      if (known.word == word) return std::string(known.meaning);
    }
    const bool other =
        std::find(std::begin(kOtherEvents), std::end(kOtherEvents), word) != std::end(kOtherEvents);
    return other || is_method(word) ? word : "";
  }

  void take(const Word& word) {
    if (word == "within" && at_ + 1 < words_.size()) {
      expected_.within = parse_duration(words_[++at_]);
    } else if (word == "unanswered") {
      expected_.unanswered = true;
    } else if (!is_method(expected_.event)) {
      expected_.words.push_back(word);
    } else if (word.starts_with('(')) {
      blamed_ = parse_ids(word);
    } else if (const std::optional<Option> option = parse_option(word)) {
      take_option(*option);
    } else if (has_bit(expected_.event, word)) {
      expected_.fields.push_back({word, Option::Compare::equal, "true"});
    } else {
      take_positional(word);
    }
  }

  void take_option(Option option) {
    const bool content = carries_content(expected_.event);
    option.name = field_name(option.name);
    if (content && option.name == "size") {
      expected_.bodies.push_back(positional("", std::string(std::stoul(option.value), 'x')));
    } else if (content && option.name == "frames") {
      for (std::size_t at = 0; at < option.value.size();) {
        const std::size_t comma = std::min(option.value.find(',', at), option.value.size());
        expected_.body_frames.push_back(std::stoul(option.value.substr(at, comma - at)));
        at = comma + 1;
      }
    } else if (content && option.name == "properties") {
      expected_.properties_octets = parse_octets({option.value});
    } else if (content && is_property(option.name)) {
      expected_.properties.push_back(std::move(option));
    } else {
      expected_.fields.push_back(std::move(option));
    }
  }

  void take_positional(const Word& word) {
    const std::vector<std::string>& names = positions_of(expected_.event);
    if (positions_used_ < names.size()) {
      expected_.fields.push_back(positional(names[positions_used_++], word));
    } else if (carries_content(expected_.event)) {
      expected_.bodies.push_back(positional("", word));
    } else {
      throw std::invalid_argument(expected_.event + " has no " + word);
    }
  }

  const std::vector<Word>& words_;
  std::optional<MethodId> blamed_;
  std::size_t at_ = 0;
  std::size_t positions_used_ = 0;
  Expectation expected_;
};

// Compares one value and stores it where the expectation is a capture.
bool fits(const Value& actual, const Option& expected, std::vector<Option>& captured) {
  if (expected.value.starts_with('?')) {
    captured.push_back({expected.value.substr(1), Option::Compare::equal, plain_text(actual)});
    return true;
  }
  return matches(actual, expected);
}

// Delivery tags count up over the bodies of one expectation.
Option nth_field(const Option& option, std::size_t nth) {
  if (option.name != "delivery-tag" || nth == 0 || option.value.starts_with('?')) return option;
  Option next = option;
  next.value = std::to_string(std::stoull(option.value) + nth);
  return next;
}

bool is_named(const std::vector<Option>& options, std::string_view name) {
  return std::any_of(options.begin(), options.end(),
                     [&](const Option& option) { return option.name == name; });
}

}  // namespace

Expectation parse_expectation(const std::vector<Word>& words, const std::string& reply,
                              std::optional<MethodId> blamed) {
  return ExpectationParser(words, blamed).parse(reply);
}

std::string field_name(const std::string& word) {
  for (const Abbreviation& known : kFieldNames) {
    if (known.word == word) return std::string(known.meaning);
  }
  return word;
}

Milliseconds parse_duration(std::string_view text) {
  Milliseconds::rep number = 0;
  const char* end = std::from_chars(text.data(), text.data() + text.size(), number).ptr;
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  if (unit == "ms") return Milliseconds(number);
  if (unit == "s") return Milliseconds(number * 1000);
  throw std::invalid_argument("not a duration: " + std::string(text));
}

std::pair<std::uint64_t, std::uint64_t> parse_range(std::string_view text) {
  const std::size_t dots = text.find("..");
  const std::string first(text.substr(0, dots));
  const std::string last(dots == std::string_view::npos ? text : text.substr(dots + 2));
  return {std::stoull(first), std::stoull(last)};
}

std::optional<std::string> mismatch(const Received& received, const Expectation& expected,
                                    std::size_t nth, std::vector<Option>& captured) {
  if (received.name != expected.event) return "another method";
  for (const Option& option : expected.fields) {
    const Value* actual = received.fields.find(option.name);
    if (actual == nullptr) return "there is no field " + option.name;
    if (!fits(*actual, nth_field(option, nth), captured)) return option.name + " differs";
  }
  for (const Field& field : received.fields) {
    const bool* bit = field.value.get_if<bool>();
    if (bit != nullptr && *bit && !is_named(expected.fields, field.key)) {
      return field.key + " is set";
    }
  }
  for (const Option& option : expected.properties) {
    const Value* actual = received.properties.find(option.name);
    if (option.value == "none") {
      if (actual != nullptr) return option.name + " is present";
    } else if (actual == nullptr) {
      return option.name + " is absent";
    } else if (!fits(*actual, option, captured)) {
      return option.name + " differs";
    }
  }
  if (expected.properties_octets && *expected.properties_octets != received.properties_octets) {
    return "the octets of the properties differ";
  }
  if (nth < expected.bodies.size() &&
      !fits(Value::binary(received.body), expected.bodies[nth], captured)) {
    return "the body differs";
  }
  if (!expected.body_frames.empty() && expected.body_frames != received.body_frames) {
    return "the body came in other frames";
  }
  return std::nullopt;
}

}  // namespace harrier::scenario
