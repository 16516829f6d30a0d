#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "tests/unit/session/session_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

void set_limit(Node& node, LimitScope scope, const char* subject, const char* name,
               std::int64_t value) {
  std::string said = "nothing";
  node.shard(0).begin_turn();
  node.broker.control().set_limit(node.shard(0), {scope, subject, name, value},
                                  [&said](const Result<void, ProtocolError>& result) {
                                    said = result ? "ok" : reply_text(result.error());
                                  });
  node.shard(0).end_turn();
  node.run();
  REQUIRE(said == "ok");
}

// What connection.open is answered with; a refused client closes.
std::string open(Client& client) {
  client.ask_to_open();
  if (client.next_name() == "connection.open-ok") return "ok";
  REQUIRE(client.last.name == "connection.close");
  std::string text;
  visit_method(client.last.payload, [&text](const auto& method) {
    if constexpr (requires { method.reply_text; }) text = method.reply_text;
  });
  client.send(0, ConnectionCloseOk{});
  return text;
}

}  // namespace

TEST_SUITE("limits of connections") {
  TEST_CASE("a connection beyond the limit is refused, on whatever shard, until one has left") {
    for (const ShardIndex shards : Shards{1, 3}) {
      Node node(shards);
      const auto last = static_cast<ShardIndex>(shards - 1);
      set_limit(node, LimitScope::vhost, "/", "max-connections", 1);
      const auto first = Client::logged_in(node, last);
      Client second(node, 0);
      CHECK(open(second) ==
            "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is "
            "reached");
      first->send(0, ConnectionClose{});
      CHECK(first->next_name() == "connection.close-ok");
      Client third(node, last);
      CHECK(open(third) == "ok");
      third.lose();
      Client fourth(node, 0);
      CHECK(open(fourth) == "ok");
    }
  }

  TEST_CASE("the user's limit counts over all shards and virtual hosts") {
    Node node(2);
    set_limit(node, LimitScope::user, "guest", "max-connections", 1);
    const auto first = Client::logged_in(node, 1);
    Client second(node, 0);
    CHECK(
        open(second) ==
        "NOT_ALLOWED - connection refused for user 'guest': user connection limit (1) is reached");
    set_limit(node, LimitScope::user, "guest", "max-connections", -1);
    Client third(node, 0);
    CHECK(open(third) == "ok");
  }

  TEST_CASE("a channel beyond the user's limit ends its connection") {
    Node node(2);
    const auto one = Client::logged_in(node, 0);
    const auto two = Client::logged_in(node, 1);
    set_limit(node, LimitScope::user, "guest", "max-channels", 3);
    two->call<ChannelOpenOk>(2, ChannelOpen{});
    two->call<ChannelCloseOk>(2, ChannelClose{});
    two->call<ChannelOpenOk>(2, ChannelOpen{});
    one->send(2, ChannelOpen{});
    CHECK(one->take<ConnectionClose>().reply_text ==
          "NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum "
          "allowed user limit of (3)");
    two->call<ChannelOpenOk>(3, ChannelOpen{});
  }

  TEST_CASE(
      "a peer that goes while its connection.open is decided on another shard leaves no share") {
    Node node(2);
    set_limit(node, LimitScope::vhost, "/", "max-connections", 1);
    {
      Client gone(node, 1);
      gone.ask_to_open(0, Client::Capability::none, Client::Waiting::no);
      node.turn(1);
      REQUIRE(gone.connection->paused());
      gone.lose();
    }
    Client next(node, 1);
    CHECK(open(next) == "ok");
  }

  TEST_CASE("a transaction that publishes too much ends its channel, and what it held is gone") {
    SessionConfig config;
    config.tx_messages_max = 2;
    config.tx_bytes_max = 10;
    Node node(1, config);
    const auto client = Client::logged_in(node);
    client->declare("q");
    client->call<TxSelectOk>(1, TxSelect{});
    client->publish("q", "a");
    client->publish("q", "b");
    CHECK(client->received.empty());
    client->call<TxCommitOk>(1, TxCommit{});
    client->publish("q", "c");
    client->call<TxRollbackOk>(1, TxRollback{});
    client->publish("q", "12345");
    client->publish("q", "12345");
    client->publish("q", "");
    CHECK(client->take<ChannelClose>().reply_text ==
          "PRECONDITION_FAILED - transaction holds more than 2 messages: commit earlier, or raise "
          "tx_max_messages");
    client->send(1, ChannelCloseOk{});
    client->call<ChannelOpenOk>(1, ChannelOpen{});
    client->call<TxSelectOk>(1, TxSelect{});
    client->publish("q", "12345678901");
    CHECK(client->take<ChannelClose>().reply_text ==
          "PRECONDITION_FAILED - transaction holds more than 10 octets: commit earlier, or raise "
          "tx_max_size");
    CHECK(node.queue("q").ready_count() == 2);
  }

  TEST_CASE("a consumer timeout of 0 waits for ever") {
    SessionConfig config;
    config.consumer_timeout_ms = 0;
    Node node(1, config);
    const auto client = Client::logged_in(node);
    client->declare("q");
    client->consume("q");
    client->publish("q", "a");
    CHECK(client->take_names() == Names{"basic.deliver"});
    node.pass(std::chrono::hours(1));
    CHECK(client->received.empty());
  }
}
