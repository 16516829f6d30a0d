#include "broker/admin/admin_message.h"

#include <nlohmann/json.hpp>

namespace harrier {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kCommand = "command";

template <class Plain>
Json to_json(const Plain& value) {
  return value;
}

Json to_json(const AdminJson& json) {
  return Json::parse(json.text, nullptr, false);
}

}  // namespace

std::string_view AdminRequest::argument(std::string_view name) const {
  const auto found = arguments.find(name);
  return found == arguments.end() ? std::string_view() : found->second;
}

Result<AdminRequest, std::string> parse_admin_request(std::string_view line) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) {
    return fail(std::string("a request is one line with a JSON object, as {\"command\":\"...\"}"));
  }
  AdminRequest request;
  for (const auto& [name, value] : json.items()) {
    if (!value.is_string()) return fail("the value of '" + name + "' has to be text");
    if (name == kCommand) {
      request.command = value.get<std::string>();
    } else {
      request.arguments.insert_or_assign(name, value.get<std::string>());
    }
  }
  if (request.command.empty()) return fail(std::string("the request has no \"command\""));
  return request;
}

std::string to_line(const AdminReply& reply) {
  Json json = Json::object();
  if (reply) {
    json["ok"] = true;
    for (const auto& [name, value] : *reply)
      std::visit([&json, &key = name](const auto& plain) { json[key] = to_json(plain); }, value);
  } else {
    json["error"] = reply.error();
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace harrier
