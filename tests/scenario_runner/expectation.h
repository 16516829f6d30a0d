#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "protocol/method_id.h"
#include "tests/scenario_runner/client.h"
#include "tests/scenario_runner/scenario.h"

namespace harrier::scenario {

// What a line says has to arrive: a method with some of its fields, or one of the words that stand
// for something else (nothing, disconnected, heartbeat, confirm, octets, ...).
struct Expectation {
  std::string event;
  std::vector<Option> fields;
  std::vector<Option> properties;
  std::vector<Option> bodies;            // nameless; one message each
  std::vector<std::size_t> body_frames;  // octets of each frame, if given
  std::optional<std::string> properties_octets;
  std::vector<Word> words;             // of events that are no methods
  bool unanswered = false;             // do not send close-ok
  std::optional<Milliseconds> within;  // time that may pass
  std::string text;                    // as written
};

// Reads the words after `expect` or `->`. Where they name no event, they are fields of `reply`.
// `blamed` is what a close method has to name if the words do not say. Throws
// std::invalid_argument.
Expectation parse_expectation(const std::vector<Word>& words, const std::string& reply,
                              std::optional<MethodId> blamed);

// Long names of the abbreviated fields: key, tag, messages, ...
std::string field_name(const std::string& word);

Milliseconds parse_duration(std::string_view text);

// "3" or "1..3". Throws std::invalid_argument.
std::pair<std::uint64_t, std::uint64_t> parse_range(std::string_view text);

// Compares a method that has arrived with the `nth` body expected. Returns what does not fit, or
// nothing. Captures (?name) are stored in `captured`.
std::optional<std::string> mismatch(const Received& received, const Expectation& expected,
                                    std::size_t nth, std::vector<Option>& captured);

}  // namespace harrier::scenario
