#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "tests/unit/session/session_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// Unsent octets from which on the broker asks for nothing more.
constexpr std::size_t kHighBytes = std::size_t{1} << 20;
// Methods, headers and frame ends around the message that crosses the mark.
constexpr std::size_t kAround = 1024;

std::string body(int number, std::size_t size) {
  std::string text = std::to_string(number) + ":";
  text.resize(size, '.');
  return text;
}

int number_of(const std::string& text) {
  return std::stoi(text.substr(0, text.find(':')));
}

// Messages received of kind `name`; CHECKs that their numbers ascend without a gap from `first`.
int in_order(Client& client, const std::string& name, int first = 0) {
  int next = first;
  while (!client.received.empty()) {
    REQUIRE(client.next_name() == name);
    REQUIRE(number_of(client.last.body) == next);
    ++next;
  }
  return next - first;
}

void queue_up_unroutable(Client& client, int count, std::size_t size) {
  BasicPublish method;
  method.routing_key = "nowhere";
  method.mandatory = true;
  for (int i = 0; i < count; ++i)
    client.queue_up_publish(1, method, body(i, size));
}

// Fills `queue` by another client.
void fill(Node& node, const std::string& queue, int count, std::size_t size) {
  const auto publisher = Client::logged_in(node);
  for (int i = 0; i < count; ++i)
    publisher->publish(queue, body(i, size));
}

}  // namespace

TEST_SUITE("Connection: a client that publishes and does not read") {
  TEST_CASE("is not heard any more once its returns have piled up") {
    for (const std::size_t size : {10u, 1000u, 20'000u, 200'000u}) {
      CAPTURE(size);
      Node node;
      const auto client = Client::logged_in(node);
      client->reading = false;
      const int count = static_cast<int>(4 * kHighBytes / size);
      queue_up_unroutable(*client, count, size);
      const std::size_t offered = client->unsent.size();
      node.run();
      CHECK(client->connection->paused());
      CHECK(client->connection->output().size() >= kHighBytes);
      CHECK(client->connection->output().size() <= kHighBytes + size + kAround);
      CHECK(client->unsent.size() > offered / 3);

      // Whatever else it sends stays with it.
      const std::size_t waiting = client->unsent.size();
      const std::size_t output = client->connection->output().size();
      queue_up_unroutable(*client, 5, size);
      node.pass(Milliseconds(5000));
      CHECK(client->unsent.size() > waiting);
      CHECK(client->connection->output().size() == output);

      // Once it reads it gets all of them, the last five twice.
      client->unsent.truncate(waiting);
      client->read_on();
      CHECK_FALSE(client->connection->paused());
      CHECK(client->resumes > 0);
      CHECK(in_order(*client, "basic.return") == count);
    }
  }

  TEST_CASE("is heard again only when most was read") {
    Node node;
    const auto client = Client::logged_in(node);
    client->reading = false;
    queue_up_unroutable(*client, 3000, 1000);
    node.run();
    REQUIRE(client->connection->paused());
    OutputBuffer& output = client->connection->output();
    std::string read;
    while (client->connection->paused()) {
      REQUIRE(output.size() > kHighBytes / 8);
      CHECK(client->resumes == 0);
      output.consume(4096);
      client->connection->output_sent();
    }
    CHECK(output.size() <= kHighBytes / 4);
    CHECK(client->resumes == 1);
  }

  TEST_CASE("can be lost like any other") {
    Node node;
    const auto client = Client::logged_in(node);
    client->reading = false;
    queue_up_unroutable(*client, 2000, 1000);
    node.run();
    REQUIRE(client->connection->paused());
    client->lose();
    CHECK(client->released);
  }

  TEST_CASE("cannot make gets pile up either") {
    Node node;
    const auto setup = Client::logged_in(node);
    setup->declare("q");
    fill(node, "q", 300, 10'000);
    const auto client = Client::logged_in(node);
    client->reading = false;
    BasicGet get;
    get.queue = "q";
    for (int i = 0; i < 300; ++i)
      client->queue_up(1, get);
    node.run();
    CHECK(client->connection->output().size() <= kHighBytes + 10'000 + kAround);
    CHECK(node.queue("q").ready_count() > 150);
    client->read_on();
    CHECK(in_order(*client, "basic.get-ok") == 300);
  }
}

TEST_SUITE("Connection: a consumer that does not read") {
  TEST_CASE("leaves in the queue what its output has no room for") {
    for (const ShardIndex shards : Shards{1, 2}) {
      for (const bool no_ack : {false, true}) {
        for (const std::size_t size : {500u, 5000u, 40'000u}) {
          CAPTURE(shards);
          CAPTURE(no_ack);
          CAPTURE(size);
          const int count = static_cast<int>(3 * kHighBytes / size);
          Node node(shards);
          const std::string name = node.name_at(0);
          const auto client = Client::logged_in(node, static_cast<ShardIndex>(shards - 1));
          client->declare(name);
          client->consume(name, no_ack);
          client->reading = false;
          fill(node, name, count, size);
          CHECK(client->unread_max <= kHighBytes + size + kAround);
          CHECK(client->connection->output().size() >= kHighBytes - size);
          const std::size_t ahead = shards == 1 ? 0 : 256;
          const std::size_t held = kHighBytes / size + 2 + ahead;
          if (static_cast<std::size_t>(count) > held) {
            CHECK(node.queue(name).ready_count() >= static_cast<std::size_t>(count) - held);
          }
          client->read_on();
          CHECK(in_order(*client, "basic.deliver") == count);
          CHECK(client->unread_max <= kHighBytes + size + kAround);
          CHECK(node.queue(name).ready_count() == 0);
          CHECK(node.queue(name).unacked_count() == (no_ack ? 0u : static_cast<unsigned>(count)));
        }
      }
    }
  }

  // A client with one thread writes before it reads: if deliveries stopped the broker from reading,
  // each would wait for the other.
  TEST_CASE("is still heard when it publishes, however much is on its way to it") {
    Node node;
    const auto client = Client::logged_in(node);
    client->declare("q");
    client->consume("q", true);
    client->reading = false;
    fill(node, "q", 3000, 1000);
    REQUIRE(client->connection->output().size() >= kHighBytes - 1000);
    const std::size_t waiting = node.queue("q").ready_count();
    for (int i = 0; i < 3000; ++i)
      client->publish("q", body(3000 + i, 1000));
    CHECK_FALSE(client->connection->paused());
    CHECK(client->unsent.size() == 0);
    CHECK(node.queue("q").ready_count() == waiting + 3000);
    client->read_on();
    CHECK(in_order(*client, "basic.deliver") == 6000);
  }

  TEST_CASE("reading in small pieces loses nothing") {
    for (const ShardIndex shards : Shards{1, 2}) {
      CAPTURE(shards);
      Node node(shards);
      const std::string name = node.name_at(0);
      const auto client = Client::logged_in(node, static_cast<ShardIndex>(shards - 1));
      client->declare(name);
      client->consume(name);
      client->reading = false;
      fill(node, name, 100, 30'000);
      client->window = 4093;
      client->read_on();
      CHECK(in_order(*client, "basic.deliver") == 100);
    }
  }

  TEST_CASE("several consumers share the room and all go on when it is there again") {
    Node node;
    const auto client = Client::logged_in(node);
    client->call<ChannelOpenOk>(2, ChannelOpen{});
    client->declare("q");
    client->declare("other");
    client->consume("q", true, 1, "a");
    client->consume("q", true, 2, "b");
    client->consume("other", true, 2, "c");
    client->reading = false;
    fill(node, "q", 400, 5000);
    fill(node, "other", 400, 5000);
    CHECK(client->unread_max <= kHighBytes + 5000 + kAround);
    client->read_on();
    CHECK(client->take_names().size() == 800);
    CHECK(client->unread_max <= kHighBytes + 5000 + kAround);
  }

  TEST_CASE("a channel closed while it waits for room is not asked again") {
    Node node;
    const auto client = Client::logged_in(node);
    client->call<ChannelOpenOk>(2, ChannelOpen{});
    client->declare("q");
    client->consume("q", false, 2, "b");
    client->reading = false;
    fill(node, "q", 400, 5000);
    client->send(2, ChannelClose{});
    CHECK(node.queue("q").ready_count() == 400);
    client->read_on();
    Names names = client->take_names();
    CHECK(names.back() == "channel.close-ok");
    CHECK(node.queue("q").consumer_count() == 0);
  }

  TEST_CASE("its messages go back when it is lost, and another gets them in order") {
    for (const ShardIndex shards : Shards{1, 2}) {
      CAPTURE(shards);
      Node node(shards);
      const std::string name = node.name_at(0);
      const auto client = Client::logged_in(node, static_cast<ShardIndex>(shards - 1));
      client->declare(name);
      client->consume(name);
      client->reading = false;
      fill(node, name, 300, 10'000);
      client->lose();
      CHECK(client->released);
      CHECK(node.queue(name).ready_count() == 300);
      const auto next = Client::logged_in(node);
      next->consume(name, true);
      node.run();
      CHECK(in_order(*next, "basic.deliver") == 300);
    }
  }
}

TEST_SUITE("Connection: a disk that cannot keep up") {
  TEST_CASE("stops publishers, of transient messages too once they are paged out") {
    for (const bool persistent : {false, true}) {
      CAPTURE(persistent);
      Node node;
      const auto client = Client::logged_in(node);
      client->declare("q", true);
      node.store.hold();
      BasicPublish method;
      method.routing_key = "q";
      const std::string megabyte(std::size_t{1} << 20, '.');
      constexpr int kMessages = 200;
      int taken = 0;
      for (; taken < kMessages && !client->connection->paused(); ++taken) {
        client->queue_up_publish(1, method, megabyte, persistent);
        node.run();
      }
      CHECK(client->connection->paused());
      CHECK(taken < 150);
      node.store.release();
      node.run();
      CHECK_FALSE(client->connection->paused());
      for (; taken < kMessages; ++taken)
        client->publish("q", megabyte, persistent);
      CHECK(node.queue("q").ready_count() == kMessages);
    }
  }
}
