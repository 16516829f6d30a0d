// Commands about policies, limits, parameters and virtual hosts.

#include <charconv>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "broker/admin/admin_commands.h"
#include "broker/runtime/broker.h"

namespace harrier {
namespace {

using Json = nlohmann::ordered_json;
using Outcome = Result<void, ProtocolError>;

// --- JSON and field tables

Value value_of(const Json& json);

FieldTable table_of(const Json& json) {
  FieldTable table;
  for (const auto& [key, value] : json.items())
    table.set(key, value_of(value));
  return table;
}

Value value_of(const Json& json) {
  if (json.is_string()) return Value::long_string(json.get<std::string>());
  if (json.is_boolean()) return Value::boolean(json.get<bool>());
  if (json.is_number_unsigned() &&
      json.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    return Value::float64(json.get<double>());
  }
  if (json.is_number_integer()) return Value::int64(json.get<std::int64_t>());
  if (json.is_number()) return Value::float64(json.get<double>());
  if (json.is_object()) return Value::table(table_of(json));
  if (!json.is_array()) return Value::nothing();
  FieldArray array;
  for (const Json& element : json)
    array.values.push_back(value_of(element));
  return Value::array(std::move(array));
}

Json json_of(const FieldTable& table);

// Of a value that came from JSON.
Json json_of(const Value& value) {
  if (const std::string* text = as_string(value)) return *text;
  if (const auto truth = as_bool(value)) return *truth;
  if (const auto integer = as_integer(value)) return *integer;
  if (const auto number = as_double(value)) return *number;
  if (const FieldTable* table = as_table(value)) return json_of(*table);
  const FieldArray* array = as_array(value);
  if (array == nullptr) return nullptr;
  Json json = Json::array();
  for (const Value& element : array->values)
    json.push_back(json_of(element));
  return json;
}

Json json_of(const FieldTable& table) {
  Json json = Json::object();
  for (const Field& field : table)
    json[field.key] = json_of(field.value);
  return json;
}

Json json_of(const PolicyDefinition& policy, const std::string& vhost) {
  return {{"vhost", vhost},
          {"name", policy.name},
          {"pattern", policy.pattern},
          {"apply-to", policy.apply_to},
          {"definition", json_of(policy.definition)},
          {"priority", policy.priority}};
}

// --- requests

std::string vhost_of(const AdminRequest& request) {
  const std::string_view vhost = request.argument("vhost");
  return vhost.empty() ? "/" : std::string(vhost);
}

std::string text_of(const AdminRequest& request, std::string_view name) {
  return std::string(request.argument(name));
}

template <class Integer>
std::optional<Integer> integer_of(std::string_view text) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Levels of arrays and objects that a document may have: each costs stack.
constexpr int kJsonDepthMax = 64;

// RabbitMQ's words for the failure.
Result<Json, std::string> parse_json(std::string_view text) {
  bool too_deep = false;
  const auto limit_depth = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kJsonDepthMax;
    return !too_deep;
  };
  Json json = Json::parse(text, limit_depth, false);
  if (too_deep || json.is_discarded()) {
    return fail(fmt::format("Could not parse JSON document: '{}'", text));
  }
  return json;
}

Result<PolicyDefinition, std::string> policy_of(const AdminRequest& request) {
  PolicyDefinition policy;
  policy.name = text_of(request, "name");
  policy.pattern = text_of(request, "pattern");
  policy.apply_to = text_of(request, "apply-to");
  if (policy.apply_to.empty()) policy.apply_to = "all";
  if (const std::string_view text = request.argument("priority"); !text.empty()) {
    const auto priority = integer_of<std::int32_t>(text);
    if (!priority) return fail(fmt::format("{} priority must be a number", text));
    policy.priority = *priority;
  }
  const auto definition = parse_json(request.argument("definition"));
  if (!definition) return fail(definition.error());
  if (!definition->is_object()) {
    return fail(fmt::format("definition must be a dictionary: {}", request.argument("definition")));
  }
  policy.definition = table_of(*definition);
  return policy;
}

// Of the user if one is named, else of the virtual host. The value may be missing.
LimitDefinition limit_of(const AdminRequest& request) {
  LimitDefinition limit;
  limit.subject = text_of(request, "user");
  limit.scope = limit.subject.empty() ? LimitScope::vhost : LimitScope::user;
  if (limit.subject.empty()) limit.subject = vhost_of(request);
  limit.name = text_of(request, "name");
  return limit;
}

// A global one has no component and belongs to no virtual host.
ParameterDefinition parameter_of(const AdminRequest& request) {
  ParameterDefinition parameter;
  parameter.component = text_of(request, "component");
  if (!parameter.component.empty()) parameter.vhost = vhost_of(request);
  parameter.name = text_of(request, "name");
  parameter.value = text_of(request, "value");
  return parameter;
}

// --- replies

void reply(AdminDone& done, AdminReply answer) {
  done([answer = std::move(answer)] { return answer; });
}

// One line: the text of a policy's faults has newlines.
std::string one_line(std::string text) {
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at))
    text.replace(at, 1, "; ");
  return text;
}

Control::Done reply_with(AdminDone done) {
  return [done = std::move(done)](Outcome outcome) mutable {
    if (outcome) return reply(done, AdminFields{});
    reply(done, fail(one_line(std::move(outcome.error().text))));
  };
}

// In a turn of shard 0, where control is asked directly.
void on_control(const AdminContext& context, UniqueFunction<void(Broker&, Shard&)> task) {
  Broker& broker = context.broker;
  broker.shard(0).post(
      [&broker, task = std::move(task)]() mutable { task(broker, broker.shard(0)); });
}

void list(const AdminContext& context, AdminDone done, std::function<void(Broker&, Json&)> fill) {
  on_control(
      context, [done = std::move(done), fill = std::move(fill)](Broker& broker, Shard&) mutable {
        Json rows = Json::array();
        fill(broker, rows);
        reply(done, AdminFields{{"rows", AdminJson{rows.dump(-1, ' ', false,
                                                             Json::error_handler_t::replace)}}});
      });
}

void set_policy(const AdminContext& context, const AdminRequest& request, PolicyKind kind,
                AdminDone done) {
  auto policy = policy_of(request);
  if (!policy) return reply(done, fail(policy.error()));
  on_control(context, [kind, vhost = vhost_of(request), policy = std::move(*policy),
                       done = std::move(done)](Broker& broker, Shard& shard) mutable {
    broker.control().set_policy(shard, std::move(vhost), kind, std::move(policy),
                                reply_with(std::move(done)));
  });
}

void clear_policy(const AdminContext& context, const AdminRequest& request, PolicyKind kind,
                  AdminDone done) {
  on_control(context, [kind, vhost = vhost_of(request), name = text_of(request, "name"),
                       done = std::move(done)](Broker& broker, Shard& shard) mutable {
    broker.control().clear_policy(shard, std::move(vhost), kind, std::move(name),
                                  reply_with(std::move(done)));
  });
}

void list_policies(const AdminContext& context, const AdminRequest& request, PolicyKind kind,
                   AdminDone done) {
  list(context, std::move(done), [kind, vhost = vhost_of(request)](Broker& broker, Json& rows) {
    const VirtualHost* host = broker.shard(0).find_vhost(vhost);
    if (host == nullptr) return;
    host->policies().each(
        kind, [&](const PolicyDefinition& policy) { rows.push_back(json_of(policy, vhost)); });
  });
}

}  // namespace

void run_policy_set(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  set_policy(context, request, PolicyKind::user, std::move(done));
}

void run_policy_clear(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  clear_policy(context, request, PolicyKind::user, std::move(done));
}

void run_policy_list(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  list_policies(context, request, PolicyKind::user, std::move(done));
}

void run_operator_policy_set(const AdminContext& context, const AdminRequest& request,
                             AdminDone done) {
  set_policy(context, request, PolicyKind::operators, std::move(done));
}

void run_operator_policy_clear(const AdminContext& context, const AdminRequest& request,
                               AdminDone done) {
  clear_policy(context, request, PolicyKind::operators, std::move(done));
}

void run_operator_policy_list(const AdminContext& context, const AdminRequest& request,
                              AdminDone done) {
  list_policies(context, request, PolicyKind::operators, std::move(done));
}

void run_limit_set(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  const std::string_view text = request.argument("value");
  const auto value = integer_of<std::int64_t>(text);
  if (!value) {
    return reply(done, fail(fmt::format("{} should be a number, actually was {}",
                                        request.argument("name"), text)));
  }
  LimitDefinition limit = limit_of(request);
  limit.value = *value;
  on_control(context, [limit = std::move(limit), done = std::move(done)](Broker& broker,
                                                                         Shard& shard) mutable {
    broker.control().set_limit(shard, std::move(limit), reply_with(std::move(done)));
  });
}

void run_limit_clear(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  on_control(context, [limit = limit_of(request), done = std::move(done)](Broker& broker,
                                                                          Shard& shard) mutable {
    broker.control().clear_limit(shard, std::move(limit), reply_with(std::move(done)));
  });
}

void run_limit_list(const AdminContext& context, const AdminRequest&, AdminDone done) {
  list(context, std::move(done), [](Broker& broker, Json& rows) {
    broker.control().limits().each([&rows](const LimitDefinition& limit) {
      const char* const of = limit.scope == LimitScope::vhost ? "vhost" : "user";
      rows.push_back({{of, limit.subject}, {"name", limit.name}, {"value", limit.value}});
    });
  });
}

void run_parameter_set(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  ParameterDefinition parameter = parameter_of(request);
  const auto value = parse_json(parameter.value);
  if (!value) return reply(done, fail(value.error()));
  on_control(context, [parameter = std::move(parameter), done = std::move(done)](
                          Broker& broker, Shard& shard) mutable {
    broker.control().set_parameter(shard, std::move(parameter), reply_with(std::move(done)));
  });
}

void run_parameter_clear(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  on_control(context, [parameter = parameter_of(request), done = std::move(done)](
                          Broker& broker, Shard& shard) mutable {
    broker.control().clear_parameter(shard, std::move(parameter), reply_with(std::move(done)));
  });
}

void run_parameter_list(const AdminContext& context, const AdminRequest&, AdminDone done) {
  list(context, std::move(done), [](Broker& broker, Json& rows) {
    broker.control().each_parameter([&rows](const ParameterDefinition& parameter) {
      Json row = Json::object();
      if (!parameter.component.empty()) {
        row["vhost"] = parameter.vhost;
        row["component"] = parameter.component;
      }
      row["name"] = parameter.name;
      row["value"] = Json::parse(parameter.value, nullptr, false);
      rows.push_back(std::move(row));
    });
  });
}

void run_vhost_add(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  std::string name = text_of(request, "name");
  if (name.empty() || name.size() > 255) {
    return reply(done, fail(std::string("a virtual host's name has 1 to 255 octets")));
  }
  on_control(context, [name = std::move(name), done = std::move(done)](Broker& broker,
                                                                       Shard& shard) mutable {
    broker.control().add_vhost(shard, std::move(name), reply_with(std::move(done)));
  });
}

void run_vhost_set_queue_type(const AdminContext& context, const AdminRequest& request,
                              AdminDone done) {
  on_control(context, [vhost = vhost_of(request), type = text_of(request, "type"),
                       done = std::move(done)](Broker& broker, Shard& shard) mutable {
    broker.control().set_default_queue_type(shard, std::move(vhost), std::move(type),
                                            reply_with(std::move(done)));
  });
}

}  // namespace harrier
