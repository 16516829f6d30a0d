// The part of Control that decides about policies, limits and parameters.

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "broker/core/arguments.h"
#include "broker/core/definition_records.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/control.h"
#include "broker/runtime/shard.h"

namespace harrier {
namespace {

using Decision = Result<void, ProtocolError>;

constexpr std::size_t kNameOctetsMax = 255;
constexpr std::size_t kTextOctetsMax = std::size_t{1} << 20;

auto refused(std::string text) {
  return fail(ProtocolError{ReplyCode::precondition_failed, std::move(text)});
}

auto not_there(std::string text) {
  return fail(ProtocolError{ReplyCode::not_found, std::move(text)});
}

// rabbitmqctl's words.
auto no_vhost(const std::string& vhost) {
  return not_there("Virtual host '" + vhost + "' does not exist");
}

auto no_parameter() {
  return not_there("Parameter does not exist");
}

Decision check_name(std::string_view what, std::string_view name) {
  if (name.empty()) return refused(std::string(what) + " is empty; name one");
  if (name.size() <= kNameOctetsMax) return {};
  return refused(std::string(what) + " has more than 255 octets; shorten it");
}

Decision check_policy(PolicyKind kind, const PolicyDefinition& policy) {
  if (auto named = check_name("the policy's name", policy.name); !named) return named;
  if (policy.pattern.size() > kTextOctetsMax) return refused("the pattern has more than 1 MiB");
  auto valid = validate_policy(policy, kind);
  if (!valid) return refused(std::move(valid.error()));
  return {};
}

// These have a call of their own that checks them.
Decision check_component(const std::string& component, std::string_view verb) {
  if (component == "policy" || component == "operator_policy") {
    return refused("policies may not be " + std::string(verb) + " using this method");
  }
  if (component == "vhost-limits" || component == "user-limits") {
    return refused("limits may not be " + std::string(verb) + " using this method");
  }
  return {};
}

Decision check_parameter(const ParameterDefinition& parameter) {
  if (auto allowed = check_component(parameter.component, "set"); !allowed) return allowed;
  if (auto named = check_name("the parameter's name", parameter.name); !named) return named;
  if (parameter.component.size() > kNameOctetsMax) {
    return refused("the component has more than 255 octets; shorten it");
  }
  if (parameter.value.size() > kTextOctetsMax) return refused("the value has more than 1 MiB");
  return {};
}

}  // namespace

void Control::set_default_queue_type(Shard& from, std::string vhost, std::string type, Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), type = std::move(type),
                        done = std::move(done)]() mutable {
    if (shard0().find_vhost(vhost) == nullptr) {
      return answer(from, std::move(done), no_vhost(vhost));
    }
    QueueDefinition sample;
    sample.durable = true;
    sample.arguments.set("x-queue-type", Value::long_string(type));
    if (!validate_new_queue(sample, vhost)) {
      return answer(from, std::move(done), refused("unsupported queue type '" + type + "'"));
    }
    commit(from, {std::move(vhost), SetDefaultQueueType{std::move(type)}}, std::move(done));
  });
}

void Control::set_policy(Shard& from, std::string vhost, PolicyKind kind, PolicyDefinition policy,
                         Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), kind, policy = std::move(policy),
                        done = std::move(done)]() mutable {
    if (shard0().find_vhost(vhost) == nullptr) {
      return answer(from, std::move(done), no_vhost(vhost));
    }
    if (auto valid = check_policy(kind, policy); !valid) {
      return answer(from, std::move(done), std::move(valid));
    }
    if (const Value* dead_letters = policy.definition.find("dead-letter-queue")) {
      auto made = create_dead_letter_queue(vhost, *as_string(*dead_letters));
      if (!made) return answer(from, std::move(done), std::move(made));
    }
    commit(from, {std::move(vhost), SetPolicy{kind, std::move(policy)}}, std::move(done));
  });
}

void Control::clear_policy(Shard& from, std::string vhost, PolicyKind kind, std::string name,
                           Done done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), kind, name = std::move(name),
                        done = std::move(done)]() mutable {
    const VirtualHost* host = shard0().find_vhost(vhost);
    if (host == nullptr) return answer(from, std::move(done), no_vhost(vhost));
    if (host->policies().find(kind, name) == nullptr) {
      return answer(from, std::move(done), no_parameter());
    }
    commit(from, {std::move(vhost), ClearPolicy{kind, std::move(name)}}, std::move(done));
  });
}

void Control::set_limit(Shard& from, LimitDefinition limit, Done done) {
  run_on_control(from, [this, &from, limit = std::move(limit), done = std::move(done)]() mutable {
    const bool of_vhost = limit.scope == LimitScope::vhost;
    if (of_vhost && shard0().find_vhost(limit.subject) == nullptr) {
      return answer(from, std::move(done), no_vhost(limit.subject));
    }
    Decision valid = Limits::validate(limit);
    if (valid && !of_vhost) valid = check_name("the user's name", limit.subject);
    if (!valid) return answer(from, std::move(done), std::move(valid));
    limits_.set(limit);
    commit_record(from, limit_record_key(limit), limit_record(limit), std::move(done));
  });
}

void Control::clear_limit(Shard& from, LimitDefinition limit, Done done) {
  run_on_control(from, [this, &from, limit = std::move(limit), done = std::move(done)]() mutable {
    if (!limits_.clear(limit)) return answer(from, std::move(done), no_parameter());
    commit_record(from, limit_record_key(limit), std::nullopt, std::move(done));
  });
}

void Control::admit_connection(Shard& from, std::string vhost, std::string user, Admitted done) {
  run_on_control(from, [this, &from, vhost = std::move(vhost), user = std::move(user),
                        done = std::move(done)]() mutable {
    auto permit = limits_.admit(vhost, user);
    if (from.index() == 0) return done(std::move(permit));
    shard0().send(from.index(), [done = std::move(done), permit = std::move(permit)]() mutable {
      done(std::move(permit));
    });
  });
}

void Control::set_parameter(Shard& from, ParameterDefinition parameter, Done done) {
  run_on_control(from,
                 [this, &from, parameter = std::move(parameter), done = std::move(done)]() mutable {
                   const bool is_global = parameter.component.empty();
                   if (!is_global && shard0().find_vhost(parameter.vhost) == nullptr) {
                     return answer(from, std::move(done), no_vhost(parameter.vhost));
                   }
                   if (auto valid = check_parameter(parameter); !valid) {
                     return answer(from, std::move(done), std::move(valid));
                   }
                   const std::string key = parameter_record_key(parameter);
                   std::string record = parameter_record(parameter);
                   restore(std::move(parameter));
                   commit_record(from, key, std::move(record), std::move(done));
                 });
}

void Control::clear_parameter(Shard& from, ParameterDefinition parameter, Done done) {
  run_on_control(
      from, [this, &from, parameter = std::move(parameter), done = std::move(done)]() mutable {
        if (auto allowed = check_component(parameter.component, "cleared"); !allowed) {
          return answer(from, std::move(done), std::move(allowed));
        }
        if (parameters_.erase({parameter.vhost, parameter.component, parameter.name}) == 0) {
          return answer(from, std::move(done), no_parameter());
        }
        commit_record(from, parameter_record_key(parameter), std::nullopt, std::move(done));
      });
}

void Control::restore(ParameterDefinition parameter) {
  parameters_.insert_or_assign(
      {std::move(parameter.vhost), std::move(parameter.component), std::move(parameter.name)},
      std::move(parameter.value));
}

void Control::each_parameter(const std::function<void(const ParameterDefinition&)>& visit) const {
  for (const auto& [key, value] : parameters_) {
    const auto& [vhost, component, name] = key;
    visit({vhost, component, name, value});
  }
}

void Control::commit_record(Shard& from, const std::string& key, std::optional<std::string> value,
                            Done done) {
  const std::uint64_t number = begin_change(2);  // for this function and for the disk
  StoreBatch& batch = shard0().batch();
  if (value) {
    batch.put_record(key, std::move(*value));
  } else {
    batch.delete_record(key);
  }
  shard0().when_durable(shard0().turn_ticket(), [this, number] { share_done(number); });
  answer(from, std::move(done), {});
  share_done(number);
}

}  // namespace harrier
