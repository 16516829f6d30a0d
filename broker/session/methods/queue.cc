#include <string>
#include <utility>

#include <fmt/core.h>

#include "broker/core/arguments.h"
#include "broker/core/errors.h"
#include "broker/core/precheck.h"
#include "broker/core/queue_settings.h"
#include "broker/core/resource_names.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/handover.h"
#include "broker/session/methods/methods.h"
#include "broker/session/methods/names.h"
#include "broker/session/reply_to.h"

namespace harrier {
namespace {

struct QueueCounts {
  std::size_t ready = 0;
  std::size_t consumers = 0;
};

void send_declare_ok(Channel& channel, const std::string& name, QueueCounts counts) {
  QueueDeclareOk ok;
  ok.queue = name;
  ok.message_count = static_cast<std::uint32_t>(counts.ready);
  ok.consumer_count = static_cast<std::uint32_t>(counts.consumers);
  channel.send(ok);
}

// The queue stands; says so with its counts, read where it lives. Ends a pause.
void declared(Channel& channel, const std::string& name, bool no_wait) {
  channel.set_last_declared_queue(name);
  const QueueHandle* handle = channel.vhost().find_queue(name);
  if (no_wait || handle == nullptr) {
    if (!no_wait) send_declare_ok(channel, name, {});  // deleted again meanwhile
    return channel.resume({}, QueueDeclare::kId);
  }
  ask_home(
      channel.shard(), *handle,
      [](Shard&, Queue* queue) {
        if (queue == nullptr) return QueueCounts{};
        queue->touch();
        return QueueCounts{queue->ready_count(), queue->consumer_count()};
      },
      [&channel, name](QueueCounts counts) {
        send_declare_ok(channel, name, counts);
        channel.resume({}, QueueDeclare::kId);
      });
}

// queue.declare of a direct reply-to name is how a replier asks whether the requester still
// listens.
Outcome declare_reply_queue(Channel& channel, const std::string& name, bool no_wait) {
  channel.pause();
  const auto answer = [&channel, name, no_wait](bool exists) {
    if (!exists) {
      return channel.resume(fail(no_queue(name, channel.vhost().name())), QueueDeclare::kId);
    }
    channel.set_last_declared_queue(name);
    if (!no_wait) send_declare_ok(channel, name, {0, 1});
    channel.resume({}, QueueDeclare::kId);
  };
  if (name == kReplyToName) {
    answer(true);
  } else {
    find_reply_queue(channel.connection().sessions(), name, answer);
  }
  return {};
}

Outcome declare_passive(Channel& channel, const std::string& name, bool no_wait) {
  if (auto allowed = channel.require_any("queue", name); !allowed) return allowed;
  const auto found = channel.vhost().require_queue(name, channel.connection().id());
  if (!found) return fail(found.error());
  channel.pause();
  declared(channel, name, no_wait);
  return {};
}

// A dead-letter queue takes reading from the new queue, and declaring the other one.
Outcome require_for_dead_letter_queue(Channel& channel, const QueueDefinition& wanted) {
  const std::string target = dead_letter_queue_of(wanted, nullptr);
  if (target.empty()) return {};
  if (auto read = channel.require(Permission::read, "queue", wanted.name); !read) return read;
  return channel.require(Permission::configure, "queue", target);
}

// A dead-letter exchange takes reading from the new queue and writing to the exchange.
Outcome require_for_dead_letters(Channel& channel, const QueueDefinition& wanted) {
  constexpr std::string_view kArgument = "x-dead-letter-exchange";
  const Value* argument = wanted.arguments.find(kArgument);
  if (argument == nullptr) return require_for_dead_letter_queue(channel, wanted);
  const std::string* exchange = as_string(*argument);
  if (exchange == nullptr) {
    return fail(invalid_argument_type(type_name(*argument), kArgument,
                                      queue_text(wanted.name, channel.vhost().name())));
  }
  if (auto read = channel.require(Permission::read, "queue", wanted.name); !read) return read;
  return channel.require(Permission::write, "exchange", *exchange);
}

Result<std::string, ProtocolError> server_named(Channel& channel, const FieldTable& arguments) {
  const Value* type = arguments.find("x-queue-type");
  const std::string* name = type == nullptr ? nullptr : as_string(*type);
  if (name != nullptr && (*name == "quorum" || *name == "stream")) {
    return fail(
        ProtocolError{ReplyCode::precondition_failed,
                      "Cannot declare a server-named queue for type rabbit_" + *name + "_queue"});
  }
  return server_named_queue(channel.connection().sessions().random());
}

template <class Method>
Result<BindingDefinition, ProtocolError> binding_of(Channel& channel, const Method& method) {
  auto name = queue_or_last(channel, strip_cr_lf(method.queue));
  if (!name) return fail(name.error());
  BindingDefinition binding;
  binding.source = strip_cr_lf(method.exchange);
  binding.destination = std::move(*name);
  // AMQP 0-9-1 queue.bind: without a queue and a key, both are the last declared queue's name.
  binding.routing_key = method.queue.empty() && method.routing_key.empty()
                            ? binding.destination
                            : std::string(method.routing_key);
  binding.arguments = method.arguments.to_owned();
  if (auto sound = precheck_bind_queue(binding.destination); !sound) return fail(sound.error());
  if (auto write = channel.require(Permission::write, "queue", binding.destination); !write) {
    return fail(write.error());
  }
  if (auto ends = precheck_ends(binding); !ends) return fail(ends.error());
  if (auto read = channel.require(Permission::read, "exchange", binding.source); !read) {
    return fail(read.error());
  }
  return binding;
}

Result<std::size_t, ProtocolError> close_unless(Queue* queue, bool if_unused, bool if_empty) {
  if (queue == nullptr || queue->closed()) return 0;
  const QueueDefinition& definition = queue->definition();
  const auto refuse = [&](const char* why) {
    return fail(ProtocolError{ReplyCode::precondition_failed,
                              queue_text(definition.name, definition.vhost) + why});
  };
  if (if_empty && queue->ready_count() + queue->delayed_count() > 0) return refuse(" not empty");
  if (if_unused && queue->consumer_count() > 0) return refuse(" in use");
  return queue->close();
}

// RabbitMQ cannot check these atomically on a quorum queue and says so.
Outcome refuse_conditions(const QueueHandle& queue, const QueueDelete& method) {
  if (queue_type_of(queue.definition()) != QueueType::quorum) return {};
  if (!method.if_unused && !method.if_empty) return {};
  return fail(ProtocolError{
      ReplyCode::not_implemented,
      fmt::format("cannot delete {}. queue.delete operations with {} flag set are not supported "
                  "by quorum queues",
                  queue_text(queue.name(), queue.definition().vhost),
                  method.if_unused ? "if-unused" : "if-empty")});
}

}  // namespace

Outcome on(Channel& channel, const QueueDeclare& method) {
  std::string name = strip_cr_lf(method.queue);
  if (is_reply_to(name)) return declare_reply_queue(channel, name, method.no_wait);
  if (method.passive) return declare_passive(channel, name, method.no_wait);

  QueueDefinition wanted;
  wanted.arguments = method.arguments.to_owned();
  wanted.exclusive = method.exclusive;
  wanted.durable = method.durable && !method.exclusive;
  wanted.auto_delete = method.auto_delete;
  const bool named_here = name.empty();
  if (named_here) {
    auto generated = server_named(channel, wanted.arguments);
    if (!generated) return fail(generated.error());
    name = std::move(*generated);
  } else if (auto sound = precheck_declare_queue(name); !sound) {
    return sound;
  }
  wanted.name = name;
  if (!named_here) wanted = channel.vhost().with_default_type(std::move(wanted));
  const ConnectionId connection = channel.connection().id();
  if (wanted.exclusive) wanted.owner = connection;
  if (auto allowed = channel.require(Permission::configure, "queue", name); !allowed) {
    return allowed;
  }
  const auto existing = channel.vhost().check_declare(wanted, connection);
  if (!existing) return fail(existing.error());
  if (*existing == nullptr) {
    if (auto allowed = require_for_dead_letters(channel, wanted); !allowed) return allowed;
  }
  channel.pause();
  channel.shard().broker().control().declare_queue(
      channel.shard(), channel.vhost().name(), std::move(wanted), connection,
      named_here || method.exclusive,
      [&channel, name, no_wait = method.no_wait](const Outcome& outcome) {
        if (!outcome) return channel.resume(outcome, QueueDeclare::kId);
        const QueueHandle* handle = channel.vhost().find_queue(name);
        if (handle != nullptr && handle->definition().exclusive) {
          channel.connection().own_exclusive(handle->definition());
        }
        declared(channel, name, no_wait);
      });
  return {};
}

Outcome on(Channel& channel, const QueueBind& method) {
  auto binding = binding_of(channel, method);
  if (!binding) return fail(binding.error());
  channel.pause();
  channel.shard().broker().control().bind(
      channel.shard(), channel.vhost().name(), std::move(*binding), channel.connection().id(),
      [&channel, no_wait = method.no_wait](const Outcome& outcome) {
        if (outcome && !no_wait) channel.send(QueueBindOk{});
        channel.resume(outcome, QueueBind::kId);
      });
  return {};
}

Outcome on(Channel& channel, const QueueUnbind& method) {
  auto binding = binding_of(channel, method);
  if (!binding) return fail(binding.error());
  channel.pause();
  channel.shard().broker().control().unbind(channel.shard(), channel.vhost().name(),
                                            std::move(*binding), channel.connection().id(),
                                            [&channel](const Outcome& outcome) {
                                              if (outcome) channel.send(QueueUnbindOk{});
                                              channel.resume(outcome, QueueUnbind::kId);
                                            });
  return {};
}

Outcome on(Channel& channel, const QueuePurge& method) {
  const auto name = queue_or_last(channel, std::string(method.queue));
  if (!name) return fail(name.error());
  const auto queue = readable_queue(channel, *name);
  if (!queue) return fail(queue.error());
  channel.pause();
  ask_home(
      channel.shard(), **queue,
      [](Shard&, Queue* home) { return home == nullptr ? std::size_t{0} : home->purge(); },
      [&channel, no_wait = method.no_wait](std::size_t purged) {
        if (!no_wait) {
          QueuePurgeOk ok;
          ok.message_count = static_cast<std::uint32_t>(purged);
          channel.send(ok);
        }
        channel.resume({}, QueuePurge::kId);
      });
  return {};
}

Outcome on(Channel& channel, const QueueDelete& method) {
  const auto name = queue_or_last(channel, strip_cr_lf(method.queue));
  if (!name) return fail(name.error());
  if (auto allowed = channel.require(Permission::configure, "queue", *name); !allowed) {
    return allowed;
  }
  const auto answer = [&channel, no_wait = method.no_wait](std::size_t count) {
    if (no_wait) return;
    QueueDeleteOk ok;
    ok.message_count = static_cast<std::uint32_t>(count);
    channel.send(ok);
  };
  if (channel.vhost().find_queue(*name) == nullptr) {
    answer(0);  // RabbitMQ: what is not there is deleted already
    return {};
  }
  const auto queue = channel.vhost().require_queue(*name, channel.connection().id());
  if (!queue) return fail(queue.error());
  if (auto possible = refuse_conditions(**queue, method); !possible) return possible;
  channel.pause();
  ask_home(
      channel.shard(), **queue,
      [if_unused = method.if_unused, if_empty = method.if_empty](Shard&, Queue* home) {
        return close_unless(home, if_unused, if_empty);
      },
      [&channel, answer, name = *name,
       id = (*queue)->id()](Result<std::size_t, ProtocolError> closed) {
        if (!closed) return channel.resume(fail(closed.error()), QueueDelete::kId);
        channel.shard().broker().control().delete_queue(
            channel.shard(), channel.vhost().name(), name, id,
            [&channel, answer, count = *closed](const Outcome& outcome) {
              answer(count);
              channel.resume(outcome, QueueDelete::kId);
            });
      });
  return {};
}

}  // namespace harrier
