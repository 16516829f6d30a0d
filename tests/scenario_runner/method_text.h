#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "protocol/constants.h"
#include "protocol/method_id.h"
#include "protocol/value.h"
#include "tests/scenario_runner/scenario.h"

// Methods and properties by the names that the specification gives them, so that the runner handles
// all of them alike: "queue.declare" with "no-wait", "delivery-mode" with 2.

namespace harrier::scenario {

// Appends a METHOD frame with the fields named; all others are zero, false or empty. Throws
// std::invalid_argument for a method, field or value that does not exist.
void encode_named(std::string_view method, ChannelNumber channel, const std::vector<Option>& fields,
                  Buffer& out);

// Throws std::invalid_argument if there is no such method.
MethodId method_id(std::string_view method);
bool is_method(std::string_view name);

// Whether the method has a bit of that name.
bool has_bit(std::string_view method, std::string_view field);

struct NamedMethod {
  std::string name;
  MethodId id;
  bool has_content = false;
  FieldTable fields;  // every field, in wire order; numbers as int64, bits as booleans
};

// Nothing if the payload does not decode.
std::optional<NamedMethod> decode_named(ByteView payload);

bool is_property(std::string_view name);

// Property flags and properties. Throws std::invalid_argument.
std::string encode_properties(const std::vector<Option>& properties);

// The properties that are present, in wire order. Nothing if they do not decode.
std::optional<FieldTable> decode_properties(ByteView flags_and_fields);

}  // namespace harrier::scenario
