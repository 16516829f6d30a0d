#include "broker/runtime/subscriptions.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// Deliveries a stand-in may be ahead of its consumer, which is the contract of Subscriptions.
constexpr std::size_t kWindow = 256;

// A channel's end of a subscription, on shard `at`.
class Subscriber final : public Consumer {
 public:
  Subscriber(Cluster& cluster, ShardIndex at, const std::string& queue,
             ConsumerOptions options = {})
      : cluster_(cluster), at_(at), queue_(cluster.vhost(at).find_queue(queue)) {
    REQUIRE(queue_);
    subscribe(std::move(options));
  }

  bool can_take() const override { return open && deliveries.size() < room; }

  void deliver(Delivery&& delivery) override {
    CHECK(verdict == "ok");  // the reply comes first
    CHECK(can_take());
    CHECK_FALSE(cancel_asked);
    deliveries.push_back(std::move(delivery));
  }

  void cancelled() override { ++cancels; }

  Bodies bodies() const {
    Bodies all;
    for (const Delivery& delivery : deliveries)
      all.emplace_back(delivery.message->body());
    return all;
  }

  // Settles deliveries by their place among those received, in one turn.
  void settle(const std::vector<std::size_t>& places, Settlement how) {
    cluster_.turn(at_, [&] {
      Subscriptions& subscriptions = cluster_.shard(at_).subscriptions();
      for (const std::size_t place : places) {
        subscriptions.settle(queue_, deliveries[place].seq, how);
      }
      subscriptions.settled();
    });
  }

  void settle_all(Settlement how) {
    std::vector<std::size_t> places;
    for (std::size_t place = 0; place < deliveries.size(); ++place)
      places.push_back(place);
    settle(places, how);
  }

  // There is room again.
  void resume() {
    cluster_.turn(at_, [&] { cluster_.shard(at_).subscriptions().resume(id_); });
  }

  // In a turn whose mail has not been read, as when the frame is quicker than the other shard.
  void cancel() {
    cluster_.turn_without_mail(at_, [&] {
      cancel_asked = true;
      cluster_.shard(at_).subscriptions().cancel(id_, underway, [this] {
        CHECK_FALSE(cancel_done);
        cancel_done = true;
        queue_known_when_done = cluster_.replicas_with_queue(queue_->name());
      });
    });
  }

  Subscriptions::Underway underway = Subscriptions::Underway::to_queue;
  bool open = true;
  std::size_t room = SIZE_MAX;
  std::vector<Delivery> deliveries;
  std::string verdict = "no reply";
  int cancels = 0;
  bool cancel_asked = false;
  bool cancel_done = false;
  int queue_known_when_done = -1;

 private:
  void subscribe(ConsumerOptions options) {
    cluster_.turn(at_, [&] {
      cluster_.shard(at_).subscriptions().subscribe(
          queue_, *this, std::move(options),
          [this](Result<SubscriptionId, ProtocolError> subscribed) {
            CHECK(verdict == "no reply");
            CHECK(deliveries.empty());
            verdict = subscribed ? "ok" : reply_text(subscribed.error());
            if (subscribed) id_ = *subscribed;
          });
    });
    cluster_.run();
  }

  Cluster& cluster_;
  const ShardIndex at_;
  const QueueRef queue_;
  SubscriptionId id_{};
};

Bodies numbers(int from, int to) {
  Bodies bodies;
  for (int i = from; i < to; ++i)
    bodies.push_back(std::to_string(i));
  return bodies;
}

ConsumerOptions with_prefetch(std::uint32_t prefetch) {
  ConsumerOptions options;
  options.prefetch = prefetch;
  return options;
}

ConsumerOptions no_ack() {
  ConsumerOptions options;
  options.no_ack = true;
  return options;
}

ConsumerOptions exclusive() {
  ConsumerOptions options;
  options.exclusive = true;
  return options;
}

// Runs `test` with the queue "where" a consumer of shard 1 is and with it on shard 0.
template <class Test>
void near_and_far(Test&& test) {
  for (const ShardIndex home : Shards{1, 0}) {
    CAPTURE(home);
    Cluster cluster(2);
    const std::string name = cluster.name_at(home);
    REQUIRE(cluster.declare(0, a_queue(name)) == "ok");
    test(cluster, name, home);
  }
}

}  // namespace

TEST_SUITE("Subscriptions: deliveries") {
  TEST_CASE("a consumer gets what waits and what comes, in order, after the reply") {
    near_and_far([](Cluster& cluster, const std::string& name, ShardIndex) {
      cluster.publish(name, numbers(0, 3));
      Subscriber subscriber(cluster, 1, name);
      CHECK(subscriber.verdict == "ok");
      CHECK(subscriber.bodies() == numbers(0, 3));
      cluster.publish(name, numbers(3, 6));
      cluster.run();
      CHECK(subscriber.bodies() == numbers(0, 6));
      CHECK(cluster.queue(name).unacked_count() == 6);
      CHECK(cluster.queue(name).consumer_count() == 1);
      CHECK(cluster.shard(1).subscriptions().count() == 1);
      subscriber.cancel();
      cluster.run();
    });
  }

  TEST_CASE("settlements reach the queue, one or many at a time") {
    near_and_far([](Cluster& cluster, const std::string& name, ShardIndex) {
      Subscriber subscriber(cluster, 1, name);
      cluster.publish(name, numbers(0, 6));
      cluster.run();
      subscriber.settle({2}, Settlement::ack);
      subscriber.settle({0, 5, 1}, Settlement::discard);
      cluster.run();
      CHECK(cluster.queue(name).unacked_count() == 2);
      CHECK(cluster.queue(name).ready_count() == 0);
      subscriber.settle({2}, Settlement::requeue);  // settled already
      cluster.run();
      CHECK(cluster.queue(name).ready_count() == 0);
      subscriber.cancel();
      cluster.run();
    });
  }

  TEST_CASE("messages requeued together are handed out again in their order") {
    near_and_far([](Cluster& cluster, const std::string& name, ShardIndex) {
      Subscriber subscriber(cluster, 1, name);
      cluster.publish(name, numbers(0, 8));
      cluster.run();
      Subscriber second(cluster, 0, name, with_prefetch(1));
      subscriber.cancel();
      cluster.run();
      subscriber.settle({6, 1, 7, 3, 0, 2, 5, 4}, Settlement::requeue);
      cluster.run();
      REQUIRE(second.deliveries.size() == 1);
      CHECK(second.bodies()[0] == "0");
      CHECK(second.deliveries[0].redelivered);
      second.cancel();
      cluster.run();
      CHECK(cluster.drain(name) == numbers(1, 8));
    });
  }

  TEST_CASE("prefetch holds across shards") {
    near_and_far([](Cluster& cluster, const std::string& name, ShardIndex) {
      Subscriber subscriber(cluster, 1, name, with_prefetch(2));
      cluster.publish(name, numbers(0, 5));
      cluster.run();
      CHECK(subscriber.bodies() == numbers(0, 2));
      subscriber.settle({0}, Settlement::ack);
      cluster.run();
      CHECK(subscriber.bodies() == numbers(0, 3));
      subscriber.cancel();
      cluster.run();
    });
  }

  TEST_CASE("consumers of all shards take turns") {
    Cluster cluster(3);
    const std::string name = cluster.name_at(2);
    REQUIRE(cluster.declare(0, a_queue(name)) == "ok");
    Subscriber a(cluster, 0, name);
    Subscriber b(cluster, 1, name);
    Subscriber c(cluster, 2, name);
    cluster.publish(name, numbers(0, 6));
    cluster.run();
    CHECK(a.bodies() == Bodies{"0", "3"});
    CHECK(b.bodies() == Bodies{"1", "4"});
    CHECK(c.bodies() == Bodies{"2", "5"});
    for (Subscriber* one : {&a, &b, &c})
      one->cancel();
    cluster.run();
  }

  TEST_CASE("an exclusive consumer is alone among all shards") {
    near_and_far([](Cluster& cluster, const std::string& name, ShardIndex) {
      Subscriber alone(cluster, 1, name, exclusive());
      CHECK(alone.verdict == "ok");
      for (const ShardIndex at : Shards{0, 1}) {
        const Subscriber refused(cluster, at, name);
        CHECK(refused.verdict ==
              "ACCESS_REFUSED - queue '" + name + "' in vhost '/' in exclusive use");
      }
      CHECK(cluster.shard(0).subscriptions().count() == 0);
      CHECK(cluster.shard(1).subscriptions().count() == 1);
      alone.cancel();
      cluster.run();
      Subscriber next(cluster, 0, name, exclusive());
      CHECK(next.verdict == "ok");
      next.cancel();
      cluster.run();
    });
  }

  TEST_CASE("a queue deleted meanwhile is not found") {
    near_and_far([](Cluster& cluster, const std::string& name, ShardIndex home) {
      const QueueRef kept(cluster.vhost(1).find_queue(name));
      const QueueId id = kept->id();
      // The home has deleted it, the consumer's shard has not heard of that yet.
      cluster.turn(0, [&] {
        cluster.broker.control().delete_queue(cluster.shard(0), "/", name, id,
                                              [](const Result<void, ProtocolError>&) {});
      });
      if (home == 1) cluster.run();
      std::string verdict;
      struct Unused final : Consumer {
        bool can_take() const override { return true; }

        void deliver(Delivery&&) override { FAIL("delivered"); }

        void cancelled() override { FAIL("cancelled"); }
      } port;
      cluster.turn_without_mail(1, [&] {
        cluster.shard(1).subscriptions().subscribe(
            kept, port, {}, [&verdict](Result<SubscriptionId, ProtocolError> subscribed) {
              verdict = subscribed ? "ok" : reply_text(subscribed.error());
            });
      });
      cluster.run();
      CHECK(verdict == "NOT_FOUND - no queue '" + name + "' in vhost '/'");
      CHECK(cluster.shard(1).subscriptions().count() == 0);
    });
  }
}

TEST_SUITE("Subscriptions: credit") {
  TEST_CASE("a consumer that takes everything gets everything, acknowledged or not") {
    for (const bool acks : {true, false}) {
      CAPTURE(acks);
      near_and_far([&](Cluster& cluster, const std::string& name, ShardIndex) {
        Subscriber subscriber(cluster, 1, name, acks ? ConsumerOptions{} : no_ack());
        cluster.publish(name, numbers(0, 3000));
        cluster.run();
        CHECK(subscriber.bodies() == numbers(0, 3000));
        CHECK(cluster.queue(name).unacked_count() == (acks ? 3000 : 0));
        subscriber.cancel();
        cluster.run();
      });
    }
  }

  TEST_CASE("one without room holds up no more than the window") {
    Cluster cluster(2);
    const std::string name = cluster.name_at(0);
    REQUIRE(cluster.declare(0, a_queue(name)) == "ok");
    Subscriber slow(cluster, 1, name);
    slow.open = false;
    cluster.publish(name, numbers(0, 1000));
    cluster.run();
    CHECK(slow.deliveries.empty());
    CHECK(cluster.queue(name).unacked_count() == kWindow);
    CHECK(cluster.queue(name).ready_count() == 1000 - kWindow);

    SUBCASE("another consumer gets the rest") {
      Subscriber quick(cluster, 0, name);
      CHECK(quick.bodies() == numbers(kWindow, 1000));
      quick.cancel();
    }
    SUBCASE("with room it gets all, in order") {
      slow.open = true;
      slow.resume();
      cluster.run();
      CHECK(slow.bodies() == numbers(0, 1000));
    }
    SUBCASE("with little room it gets as much, and never is more ahead") {
      slow.open = true;
      while (slow.deliveries.size() < 1000) {
        slow.room += slow.room == SIZE_MAX ? 1 + 7 : 7;
        const std::size_t before = slow.deliveries.size();
        slow.resume();
        cluster.run();
        REQUIRE(slow.deliveries.size() == std::min<std::size_t>(before + 7, 1000));
        REQUIRE(cluster.queue(name).unacked_count() <= slow.deliveries.size() + kWindow);
      }
      CHECK(slow.bodies() == numbers(0, 1000));
    }
    slow.cancel();
    cluster.run();
  }

  TEST_CASE("a local consumer without room holds up nothing") {
    Cluster cluster(2);
    const std::string name = cluster.name_at(1);
    REQUIRE(cluster.declare(0, a_queue(name)) == "ok");
    Subscriber slow(cluster, 1, name);
    slow.open = false;
    cluster.publish(name, numbers(0, 10));
    cluster.run();
    CHECK(cluster.queue(name).ready_count() == 10);
    slow.open = true;
    slow.resume();
    CHECK(slow.bodies() == numbers(0, 10));
    slow.cancel();
    cluster.run();
  }
}

TEST_SUITE("Subscriptions: cancel") {
  TEST_CASE("what the consumer has stays with it, the rest goes back to its place") {
    near_and_far([](Cluster& cluster, const std::string& name, ShardIndex) {
      Subscriber subscriber(cluster, 1, name);
      subscriber.room = 4;
      cluster.publish(name, numbers(0, 300));
      cluster.run();
      REQUIRE(subscriber.bodies() == numbers(0, 4));
      subscriber.cancel();
      cluster.run();
      CHECK(subscriber.cancel_done);
      CHECK(cluster.queue(name).consumer_count() == 0);
      CHECK(cluster.queue(name).unacked_count() == 4);
      CHECK(cluster.queue(name).ready_count() == 296);
      subscriber.settle({1, 3}, Settlement::requeue);
      subscriber.settle({0, 2}, Settlement::ack);
      cluster.run();
      Bodies expected = numbers(4, 300);
      expected.insert(expected.begin(), {"1", "3"});
      CHECK(cluster.drain(name) == expected);
    });
  }

  TEST_CASE("deliveries under way when the consumer is cancelled bounce back to their places") {
    for (const bool acks : {true, false}) {
      CAPTURE(acks);
      Cluster cluster(2);
      const std::string name = cluster.name_at(0);
      REQUIRE(cluster.declare(0, a_queue(name)) == "ok");
      Subscriber subscriber(cluster, 1, name, acks ? ConsumerOptions{} : no_ack());
      subscriber.room = 2;
      cluster.publish(name, numbers(0, 5));
      cluster.run();
      REQUIRE(subscriber.bodies() == numbers(0, 2));  // three are held back
      cluster.publish(name, numbers(5, 8));           // and shard 1 has had no turn for these
      subscriber.cancel();
      CHECK_FALSE(subscriber.cancel_done);
      cluster.publish(name, numbers(8, 9));
      cluster.run();
      CHECK(subscriber.cancel_done);
      CHECK(subscriber.bodies() == numbers(0, 2));
      CHECK(cluster.queue(name).unacked_count() == (acks ? 2 : 0));
      // What needed no ack is lost with its consumer, as it would be in a socket.
      CHECK(cluster.drain(name) == (acks ? numbers(2, 9) : numbers(8, 9)));
    }
  }

  TEST_CASE("another consumer gets what bounces back, in order") {
    Cluster cluster(3);
    const std::string name = cluster.name_at(0);
    REQUIRE(cluster.declare(0, a_queue(name)) == "ok");
    Subscriber leaving(cluster, 1, name);
    cluster.publish(name, numbers(0, 50));
    leaving.cancel();
    Subscriber staying(cluster, 2, name);
    cluster.run();
    CHECK(leaving.deliveries.empty());
    CHECK(staying.bodies() == numbers(0, 50));
    CHECK(cluster.queue(name).unacked_count() == 50);
    staying.cancel();
    cluster.run();
  }

  TEST_CASE("an auto-delete queue is gone everywhere before its last consumer's cancel is done") {
    for (const bool durable : {false, true}) {
      for (const ShardIndex home : Shards{0, 1, 2}) {
        CAPTURE(durable);
        CAPTURE(home);
        Cluster cluster(3);
        QueueDefinition wanted = a_queue(cluster.name_at(home));
        wanted.durable = durable;
        wanted.auto_delete = true;
        REQUIRE(cluster.declare(0, wanted) == "ok");
        Subscriber first(cluster, 1, wanted.name);
        Subscriber last(cluster, 2, wanted.name);
        cluster.publish(wanted.name, numbers(0, 4));
        cluster.run();
        first.cancel();
        cluster.run();
        CHECK(first.cancel_done);
        CHECK(first.queue_known_when_done == 3);
        last.cancel();
        cluster.run();
        CHECK(last.cancel_done);
        CHECK(last.queue_known_when_done == 0);
        CHECK(last.cancels == 0);
        first.settle_all(Settlement::requeue);  // of a queue that is gone
        cluster.run();
      }
    }
  }

  TEST_CASE("cancelling twice at once ends an auto-delete queue once") {
    Cluster cluster(3);
    QueueDefinition wanted = a_queue(cluster.name_at(0));
    wanted.auto_delete = true;
    REQUIRE(cluster.declare(0, wanted) == "ok");
    Subscriber a(cluster, 1, wanted.name);
    Subscriber b(cluster, 2, wanted.name);
    a.cancel();
    b.cancel();
    cluster.run();
    CHECK(a.cancel_done);
    CHECK(b.cancel_done);
    CHECK(cluster.replicas_with_queue(wanted.name) == 0);
  }
}

TEST_SUITE("Subscriptions: deletion") {
  TEST_CASE("every consumer of a deleted queue is told, once") {
    for (const ShardIndex home : Shards{0, 1, 2}) {
      CAPTURE(home);
      Cluster cluster(3);
      const std::string name = cluster.name_at(home);
      REQUIRE(cluster.declare(0, a_queue(name)) == "ok");
      Subscriber a(cluster, 0, name);
      Subscriber b(cluster, 1, name);
      Subscriber c(cluster, 2, name);
      cluster.publish(name, numbers(0, 9));
      cluster.run();
      REQUIRE(cluster.delete_queue(1, name) == "ok");
      for (Subscriber* one : {&a, &b, &c})
        CHECK(one->cancels == 1);
      // The session of a local consumer still ends its subscription; the others' are ended.
      for (Subscriber* one : {&a, &b, &c})
        one->cancel();
      cluster.run();
      for (Subscriber* one : {&a, &b, &c}) {
        CHECK(one->cancel_done);
        one->settle_all(Settlement::ack);  // too late, and harmless
      }
      cluster.run();
      for (ShardIndex at = 0; at < 3; ++at)
        CHECK(cluster.shard(at).subscriptions().count() == 0);
    }
  }

  TEST_CASE("a cancel that meets the deletion half way is done as well") {
    near_and_far([](Cluster& cluster, const std::string& name, ShardIndex) {
      Subscriber subscriber(cluster, 1, name);
      cluster.publish(name, numbers(0, 3));
      const QueueId id = cluster.definition(name).id;
      cluster.turn(0, [&] {
        cluster.broker.control().delete_queue(cluster.shard(0), "/", name, id,
                                              [](const Result<void, ProtocolError>&) {});
      });
      subscriber.cancel();
      cluster.run();
      CHECK(subscriber.cancel_done);
      CHECK(subscriber.cancels == 0);
      CHECK(cluster.shard(1).subscriptions().count() == 0);
    });
  }

  TEST_CASE("what is held back for a consumer goes with its queue") {
    Cluster cluster(2);
    const std::string name = cluster.name_at(0);
    REQUIRE(cluster.declare(0, a_queue(name)) == "ok");
    Subscriber slow(cluster, 1, name);
    slow.open = false;
    cluster.publish(name, numbers(0, 5));
    cluster.run();
    REQUIRE(cluster.delete_queue(0, name) == "ok");
    CHECK(slow.cancels == 1);
    slow.open = true;
    slow.resume();
    cluster.run();
    CHECK(slow.deliveries.empty());
  }

  // queue.delete closes a queue at home some turns before control removes it everywhere.
  TEST_CASE("a queue that is closed and not yet removed takes no consumer") {
    near_and_far([](Cluster& cluster, const std::string& name, ShardIndex home) {
      cluster.turn(home, [&] { cluster.queue(name).close(); });
      const Subscriber late(cluster, 1, name);
      CHECK(late.verdict == "NOT_FOUND - no queue '" + name + "' in vhost '/'");
      CHECK(cluster.shard(1).subscriptions().count() == 0);
      REQUIRE(cluster.delete_queue(0, name) == "ok");
      CHECK(late.cancels == 0);
    });
  }
}
