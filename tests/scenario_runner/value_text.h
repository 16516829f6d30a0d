#pragma once

#include <string>
#include <string_view>

#include "protocol/value.h"
#include "tests/scenario_runner/scenario.h"

// Table values in the language of scenario files: 5, int64:5, "text", true, {k=v,...}, [v,...].

namespace harrier::scenario {

// Throws std::invalid_argument.
Value parse_value(std::string_view text);

// The language's text for a value, with its type wherever that is not the default.
std::string to_language(const Value& value);
std::string to_language(const FieldTable& table);

// A value without quotes and type: for captures and regular expressions.
std::string plain_text(const Value& value);

// Whether every field of `part` is in `whole` with an equal value; tables inside likewise.
bool contains(const FieldTable& whole, const FieldTable& part);

// Compares a field of a method, or a property, with what the file says about it. Numbers and texts
// compare by content, tables exactly (order, types, duplicates) unless `contains` was asked for.
// Throws std::invalid_argument if the expectation is not understood.
bool matches(const Value& actual, const Option& expected);

}  // namespace harrier::scenario
