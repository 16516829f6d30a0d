#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/core/virtual_host.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/control.h"
#include "broker/runtime/shard.h"
#include "broker/runtime/subscriptions.h"
#include "protocol/reply_code.h"
#include "storage/memory_store.h"

namespace harrier::test {

using Bodies = std::vector<std::string>;
using Shards = std::initializer_list<ShardIndex>;

inline MessageRef transient(std::string_view body) {
  return Message::create(MessageParts{}, body);
}

inline MessageRef persistent(std::string_view body) {
  MessageParts parts;
  parts.persistent = true;
  return Message::create(parts, body);
}

// What control said, and when: nothing yet, "ok", or what the client reads in the close method.
class Answer {
 public:
  Control::Done done() {
    return [said = said_](Result<void, ProtocolError> result) {
      CHECK_FALSE(said->has_value());
      *said = result ? "ok" : reply_text(result.error());
    };
  }

  bool came() const { return said_->has_value(); }

  std::string text() const { return said_->value_or("no answer"); }

 private:
  std::shared_ptr<std::optional<std::string>> said_ =
      std::make_shared<std::optional<std::string>>();
};

// The shards of a broker on one thread: a turn runs when the test says so, or round robin until
// nothing is left to do.
class Cluster {
 public:
  explicit Cluster(ShardIndex shards, MemoryStore* on = nullptr,
                   LogExchange log_exchange = LogExchange::none)
      : own_store_(on == nullptr ? std::make_unique<MemoryStore>() : nullptr),
        store(on == nullptr ? *own_store_ : *on),
        broker(shards, clock, store,
               [this](const StoreError& error) { failures.push_back(error.detail); }),
        woken_(shards, true) {
    configure_logging(LogConfig{LogLevel::none, LogLevel::none, {}});
    for (ShardIndex index = 0; index < shards; ++index) {
      broker.shard(index).set_waker([this, index] { woken_[index] = true; });
    }
    REQUIRE(broker.recover("/", log_exchange));
    run();
  }

  ShardIndex size() const { return broker.shard_count(); }

  Shard& shard(ShardIndex index) { return broker.shard(index); }

  VirtualHost& vhost(ShardIndex index) { return *shard(index).find_vhost("/"); }

  // A turn of one shard in which `work` comes after the mailbox.
  template <class Work>
  void turn(ShardIndex index, Work&& work) {
    woken_[index] = false;
    shard(index).begin_turn();
    shard(index).run_mailbox();
    work();
    shard(index).end_turn();
  }

  void turn(ShardIndex index) {
    turn(index, [] {});
  }

  // A turn that ends before the mailbox was looked at.
  template <class Work>
  void turn_without_mail(ShardIndex index, Work&& work) {
    shard(index).begin_turn();
    work();
    shard(index).end_turn();
  }

  void run() {
    bool more = true;
    while (more) {
      more = false;
      for (ShardIndex index = 0; index < size(); ++index) {
        if (!woken_[index]) continue;
        more = true;
        turn(index);
      }
    }
  }

  // --- definitions, asked from shard `from`; each runs until all is quiet
  std::string declare(ShardIndex from, QueueDefinition wanted, ConnectionId connection = {},
                      bool near_declarer = false) {
    return ask(from, [&](Control::Done done) {
      broker.control().declare_queue(shard(from), "/", std::move(wanted), connection, near_declarer,
                                     std::move(done));
    });
  }

  std::string declare(ShardIndex from, ExchangeDefinition wanted) {
    return ask(from, [&](Control::Done done) {
      broker.control().declare_exchange(shard(from), "/", std::move(wanted), std::move(done));
    });
  }

  std::string bind(ShardIndex from, BindingDefinition wanted) {
    return ask(from, [&](Control::Done done) {
      broker.control().bind(shard(from), "/", std::move(wanted), ConnectionId{}, std::move(done));
    });
  }

  std::string unbind(ShardIndex from, BindingDefinition wanted) {
    return ask(from, [&](Control::Done done) {
      broker.control().unbind(shard(from), "/", std::move(wanted), ConnectionId{}, std::move(done));
    });
  }

  std::string delete_exchange(ShardIndex from, std::string name, bool if_unused = false) {
    return ask(from, [&](Control::Done done) {
      broker.control().delete_exchange(shard(from), "/", std::move(name), if_unused,
                                       std::move(done));
    });
  }

  std::string delete_queue(ShardIndex from, std::string name) {
    const QueueHandle* handle = vhost(from).find_queue(name);
    const QueueId id = handle == nullptr ? QueueId{} : handle->id();
    return ask(from, [&](Control::Done done) {
      broker.control().delete_queue(shard(from), "/", std::move(name), id, std::move(done));
    });
  }

  template <class Question>
  std::string ask(ShardIndex from, Question&& question) {
    Answer answer;
    turn(from, [&] { question(answer.done()); });
    run();
    return answer.text();
  }

  // --- the model
  // How many replicas know the queue.
  int replicas_with_queue(std::string_view name) {
    int count = 0;
    for (ShardIndex index = 0; index < size(); ++index) {
      if (vhost(index).find_queue(name) != nullptr) ++count;
    }
    return count;
  }

  int replicas_with_exchange(std::string_view name) {
    int count = 0;
    for (ShardIndex index = 0; index < size(); ++index) {
      if (vhost(index).find_exchange(name) != nullptr) ++count;
    }
    return count;
  }

  const QueueDefinition& definition(std::string_view name) {
    const QueueHandle* handle = vhost(0).find_queue(name);
    REQUIRE(handle != nullptr);
    return handle->definition();
  }

  // The queue itself, at home.
  Queue& queue(std::string_view name) {
    const QueueDefinition& found = definition(name);
    Queue* home = shard(found.home).find_queue(found.id);
    REQUIRE(home != nullptr);
    return *home;
  }

  // A name whose queue lives on shard `home`.
  std::string name_at(ShardIndex home) {
    for (int i = 0;; ++i) {
      std::string name = "q" + std::to_string(i);
      if (home_shard("/", name, size()) == home) return name;
    }
  }

  void publish(std::string_view name, const std::vector<MessageRef>& messages) {
    const ShardIndex home = definition(name).home;
    turn(home, [&] {
      for (const MessageRef& message : messages)
        queue(name).enqueue(message, shard(home).now());
    });
  }

  void publish(std::string_view name, const Bodies& bodies) {
    std::vector<MessageRef> messages;
    for (const std::string& body : bodies)
      messages.push_back(transient(body));
    publish(name, messages);
  }

  // basic.get in a turn of its own.
  std::optional<Got> get(std::string_view name, bool no_ack) {
    std::optional<Got> taken;
    bool answered = false;
    turn(definition(name).home, [&] {
      queue(name).get(no_ack, [&](GetResult got) {
        REQUIRE(got);
        taken = std::move(*got);
        answered = true;
      });
    });
    run();
    REQUIRE(answered);
    return taken;
  }

  // Bodies by basic.get without ack, until the queue is empty.
  Bodies drain(std::string_view name) {
    Bodies bodies;
    while (auto got = get(name, true))
      bodies.emplace_back(got->delivery.message->body());
    return bodies;
  }

  // Stops as the application does.
  void stop() {
    run();
    for (ShardIndex index = 0; index < size(); ++index) {
      turn(index, [&] {
        for (const auto& [id, queue] : shard(index).queues())
          queue->stop_deliveries();
      });
    }
    run();
    store.stop();
  }

 private:
  std::unique_ptr<MemoryStore> own_store_;

 public:
  ManualClock clock;
  MemoryStore& store;
  std::vector<std::string> failures;
  Broker broker;

 private:
  std::vector<bool> woken_;
};

inline QueueDefinition a_queue(std::string_view name) {
  QueueDefinition made;
  made.name = name;
  return made;
}

inline QueueDefinition a_durable_queue(std::string_view name) {
  QueueDefinition made = a_queue(name);
  made.durable = true;
  return made;
}

inline ExchangeDefinition an_exchange(std::string_view name, std::string_view type = "direct") {
  ExchangeDefinition made;
  made.name = name;
  made.type = type;
  return made;
}

inline ExchangeDefinition a_durable_exchange(std::string_view name,
                                             std::string_view type = "direct") {
  ExchangeDefinition made = an_exchange(name, type);
  made.durable = true;
  return made;
}

inline BindingDefinition to_queue(std::string_view source, std::string_view destination,
                                  std::string_view key = "") {
  BindingDefinition made;
  made.source = source;
  made.destination = destination;
  made.routing_key = key;
  return made;
}

}  // namespace harrier::test

template <>
struct doctest::StringMaker<harrier::test::Bodies> {
  static String convert(const harrier::test::Bodies& bodies) {
    std::string shown;
    for (const std::string& body : bodies)
      shown += body + " ";
    return shown.c_str();
  }
};
