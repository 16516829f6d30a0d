#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace harrier {

// What goes over the admin socket, one line of JSON each way:
//
//   {"command":"backup","directory":"/srv/copy"}      all values are text
//   {"ok":true,"directory":"/srv/copy","files":9}     or  {"error":"one line with its mend"}

struct AdminRequest {
  std::string command;
  std::map<std::string, std::string, std::less<>> arguments;

  // Empty when it was not given.
  std::string_view argument(std::string_view name) const;
};

// The error is one line for the peer. Any octets may come.
Result<AdminRequest, std::string> parse_admin_request(std::string_view line);

// A value that is JSON already, valid and on one line.
struct AdminJson {
  std::string text;
};

using AdminValue = std::variant<std::string, std::uint64_t, double, AdminJson>;
using AdminFields = std::vector<std::pair<std::string, AdminValue>>;
using AdminReply = Result<AdminFields, std::string>;

// With the newline. What is not UTF-8 is replaced.
std::string to_line(const AdminReply& reply);

}  // namespace harrier
