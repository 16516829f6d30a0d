#include <string>
#include <utility>

#include "broker/core/arguments.h"
#include "broker/core/errors.h"
#include "broker/core/precheck.h"
#include "broker/core/resource_names.h"
#include "broker/runtime/broker.h"
#include "broker/session/methods/methods.h"

namespace harrier {
namespace {

Outcome declare_passive(Channel& channel, const std::string& name, bool no_wait) {
  if (auto named = precheck_not_default(name); !named) return named;
  if (auto allowed = channel.require_any("exchange", name); !allowed) return allowed;
  const auto found = channel.vhost().require_exchange(name);
  if (!found) return fail(found.error());
  if (!no_wait) channel.send(ExchangeDeclareOk{});
  return {};
}

// What the alternate exchange of a new exchange takes: reading from the one, writing to the other.
Outcome require_for_alternate(Channel& channel, const ExchangeDefinition& wanted) {
  const std::string_view alternate = alternate_exchange(wanted.arguments);
  if (alternate.empty()) return {};
  if (auto read = channel.require(Permission::read, "exchange", wanted.name); !read) return read;
  return channel.require(Permission::write, "exchange", alternate);
}

// exchange.bind and exchange.unbind differ in what they do at the end only.
template <class Method>
Result<BindingDefinition, ProtocolError> binding_of(Channel& channel, const Method& method) {
  BindingDefinition binding;
  binding.source = strip_cr_lf(method.source);
  binding.destination = strip_cr_lf(method.destination);
  binding.destination_kind = DestinationKind::exchange;
  binding.routing_key = method.routing_key;
  binding.arguments = method.arguments.to_owned();
  if (auto write = channel.require(Permission::write, "exchange", binding.destination); !write) {
    return fail(write.error());
  }
  if (auto ends = precheck_ends(binding); !ends) return fail(ends.error());
  if (auto read = channel.require(Permission::read, "exchange", binding.source); !read) {
    return fail(read.error());
  }
  return binding;
}

// Answers with `Ok` unless no_wait, and lets the connection go on.
template <class Method, class Ok>
Control::Done answer_with(Channel& channel, bool no_wait) {
  return [&channel, no_wait](const Outcome& outcome) {
    if (outcome && !no_wait) channel.send(Ok{});
    channel.resume(outcome, Method::kId);
  };
}

}  // namespace

Outcome on(Channel& channel, const ExchangeDeclare& method) {
  const std::string name = strip_cr_lf(method.exchange);
  if (method.passive) return declare_passive(channel, name, method.no_wait);
  ExchangeDefinition wanted;
  wanted.name = name;
  wanted.type = method.type;
  wanted.durable = method.durable;
  wanted.auto_delete = method.auto_delete;
  wanted.internal = method.internal;
  wanted.arguments = method.arguments.to_owned();
  if (auto sound = precheck_declare(wanted); !sound) return sound;
  if (auto allowed = channel.require(Permission::configure, "exchange", name); !allowed) {
    return allowed;
  }
  const auto existing = channel.vhost().check_declare(wanted);
  if (!existing) return fail(existing.error());
  if (*existing == nullptr) {
    if (auto allowed = require_for_alternate(channel, wanted); !allowed) return allowed;
  }
  channel.pause();
  channel.shard().broker().control().declare_exchange(
      channel.shard(), channel.vhost().name(), std::move(wanted),
      answer_with<ExchangeDeclare, ExchangeDeclareOk>(channel, method.no_wait));
  return {};
}

Outcome on(Channel& channel, const ExchangeDelete& method) {
  const std::string name = strip_cr_lf(method.exchange);
  if (auto sound = precheck_delete_exchange(name, channel.vhost().name()); !sound) return sound;
  if (auto allowed = channel.require(Permission::configure, "exchange", name); !allowed) {
    return allowed;
  }
  channel.pause();
  channel.shard().broker().control().delete_exchange(
      channel.shard(), channel.vhost().name(), name, method.if_unused,
      answer_with<ExchangeDelete, ExchangeDeleteOk>(channel, method.no_wait));
  return {};
}

Outcome on(Channel& channel, const ExchangeBind& method) {
  auto binding = binding_of(channel, method);
  if (!binding) return fail(binding.error());
  channel.pause();
  channel.shard().broker().control().bind(
      channel.shard(), channel.vhost().name(), std::move(*binding), channel.connection().id(),
      answer_with<ExchangeBind, ExchangeBindOk>(channel, method.no_wait));
  return {};
}

Outcome on(Channel& channel, const ExchangeUnbind& method) {
  auto binding = binding_of(channel, method);
  if (!binding) return fail(binding.error());
  channel.pause();
  channel.shard().broker().control().unbind(
      channel.shard(), channel.vhost().name(), std::move(*binding), channel.connection().id(),
      answer_with<ExchangeUnbind, ExchangeUnbindOk>(channel, method.no_wait));
  return {};
}

}  // namespace harrier
