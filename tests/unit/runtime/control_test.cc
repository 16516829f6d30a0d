#include "broker/runtime/control.h"

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

// Asks `question` from every shard of clusters of 1, 2 and 3 shards.
template <class Question>
void from_everywhere(Question&& question) {
  for (ShardIndex shards = 1; shards <= 3; ++shards) {
    for (ShardIndex from = 0; from < shards; ++from) {
      CAPTURE(shards);
      CAPTURE(from);
      Cluster cluster(shards);
      question(cluster, from);
    }
  }
}

std::size_t bindings(Cluster& cluster, ShardIndex index) {
  std::size_t count = 0;
  cluster.vhost(index).each_binding([&count](const BindingDefinition&) { ++count; });
  return count;
}

void check_replicas(Cluster& cluster) {
  for (ShardIndex index = 0; index < cluster.size(); ++index) {
    cluster.vhost(index).check_invariants();
    CHECK(bindings(cluster, index) == bindings(cluster, 0));
  }
}

// An answer that notes how many replicas fulfil `seen` at the moment it is given.
template <class Seen>
Control::Done noting(int& count, Seen seen) {
  return [&count, seen](const Result<void, ProtocolError>& result) {
    CHECK(result);
    count = seen();
  };
}

// A durable queue "q", declared from the last shard while the disk is slow.
struct PendingDeclare {
  explicit PendingDeclare(ShardIndex shards) : cluster(std::make_unique<Cluster>(shards, &store)) {
    store.hold();
    const auto from = static_cast<ShardIndex>(shards - 1);
    cluster->turn(from, [&] {
      cluster->broker.control().declare_queue(cluster->shard(from), "/", a_durable_queue("q"), {},
                                              false, answer.done());
    });
    cluster->run();
  }

  int replicas_after_crash() {
    const ShardIndex shards = cluster->size();
    cluster.reset();
    store.reopen();
    return Cluster(shards, &store).replicas_with_queue("q");
  }

  MemoryStore store;
  std::unique_ptr<Cluster> cluster;
  Answer answer;
};

}  // namespace

TEST_SUITE("Control: replicas") {
  TEST_CASE("every replica knows a queue before its declarer hears of it") {
    from_everywhere([](Cluster& cluster, ShardIndex from) {
      for (const bool durable : {false, true}) {
        QueueDefinition wanted = durable ? a_durable_queue("d") : a_queue("t");
        const std::string name = wanted.name;
        int replicas = -1;
        cluster.turn(from, [&] {
          cluster.broker.control().declare_queue(
              cluster.shard(from), "/", wanted, ConnectionId{}, false,
              noting(replicas, [&] { return cluster.replicas_with_queue(name); }));
        });
        cluster.run();
        CHECK(replicas == cluster.size());
        // The queue itself is in one place only.
        int homes = 0;
        for (ShardIndex index = 0; index < cluster.size(); ++index) {
          const bool here = cluster.vhost(index).find_queue(name)->queue() != nullptr;
          CHECK(here == (index == cluster.definition(name).home));
          homes += here;
        }
        CHECK(homes == 1);
        CHECK(cluster.definition(name).home == home_shard("/", name, cluster.size()));
      }
    });
  }

  TEST_CASE("every replica has forgotten a queue before its deleter hears of it") {
    from_everywhere([](Cluster& cluster, ShardIndex from) {
      REQUIRE(cluster.declare(0, a_durable_queue("q")) == "ok");
      REQUIRE(cluster.bind(0, to_queue("amq.fanout", "q")) == "ok");
      const QueueId id = cluster.definition("q").id;
      const ShardIndex home = cluster.definition("q").home;
      int replicas = -1;
      cluster.turn(from, [&] {
        cluster.broker.control().delete_queue(
            cluster.shard(from), "/", "q", id,
            noting(replicas, [&] { return cluster.replicas_with_queue("q"); }));
      });
      cluster.run();
      CHECK(replicas == 0);
      CHECK(cluster.shard(home).find_queue(id) == nullptr);
      CHECK(bindings(cluster, 0) == 0);
      check_replicas(cluster);
    });
  }

  TEST_CASE("exchanges and bindings come and go everywhere at once") {
    from_everywhere([](Cluster& cluster, ShardIndex from) {
      REQUIRE(cluster.declare(from, a_queue("q")) == "ok");
      CHECK(cluster.declare(from, an_exchange("x", "fanout")) == "ok");
      CHECK(cluster.replicas_with_exchange("x") == cluster.size());
      int bound = -1;
      const auto routed = [&cluster] {
        int count = 0;
        for (ShardIndex index = 0; index < cluster.size(); ++index) {
          std::vector<QueueHandle*> queues;
          const std::vector<std::string_view> keys{"key"};
          VirtualHost& vhost = cluster.vhost(index);
          count += vhost.route(*vhost.find_exchange("x"), {keys, TableView{}}, queues).routed;
        }
        return count;
      };
      cluster.turn(from, [&] {
        cluster.broker.control().bind(cluster.shard(from), "/", to_queue("x", "q"), ConnectionId{},
                                      noting(bound, routed));
      });
      cluster.run();
      CHECK(bound == cluster.size());
      CHECK(cluster.bind(from, to_queue("x", "q")) == "ok");  // once more changes nothing
      CHECK(bindings(cluster, 0) == 1);
      CHECK(cluster.unbind(from, to_queue("x", "q")) == "ok");
      CHECK(routed() == 0);
      CHECK(cluster.unbind(from, to_queue("x", "q")) == "ok");
      CHECK(cluster.delete_exchange(from, "x") == "ok");
      CHECK(cluster.replicas_with_exchange("x") == 0);
      CHECK(cluster.delete_exchange(from, "x") == "ok");
      check_replicas(cluster);
    });
  }

  TEST_CASE("what an auto-delete exchange takes along goes everywhere") {
    from_everywhere([](Cluster& cluster, ShardIndex from) {
      ExchangeDefinition fleeting = a_durable_exchange("fleeting", "fanout");
      fleeting.auto_delete = true;
      REQUIRE(cluster.declare(from, fleeting) == "ok");
      REQUIRE(cluster.declare(from, a_durable_queue("q")) == "ok");
      REQUIRE(cluster.bind(from, to_queue("fleeting", "q")) == "ok");
      REQUIRE(cluster.delete_queue(from, "q") == "ok");
      CHECK(cluster.replicas_with_exchange("fleeting") == 0);
      check_replicas(cluster);
    });
  }

  TEST_CASE("a refusal comes back as such and changes nothing") {
    from_everywhere([](Cluster& cluster, ShardIndex from) {
      CHECK(cluster.bind(from, to_queue("amq.fanout", "nobody")) ==
            "NOT_FOUND - no queue 'nobody' in vhost '/'");
      CHECK(cluster.declare(from, an_exchange("amq.mine")) ==
            "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'");
      CHECK(cluster.declare(from, an_exchange("x", "nonsense")) ==
            "PRECONDITION_FAILED - unknown exchange type 'nonsense'");
      REQUIRE(cluster.declare(from, a_queue("q")) == "ok");
      REQUIRE(cluster.bind(from, to_queue("amq.fanout", "q")) == "ok");
      CHECK(cluster.delete_exchange(from, "amq.fanout") ==
            "ACCESS_REFUSED - deletion of system exchange 'amq.fanout' in vhost '/' not allowed");
      check_replicas(cluster);
    });
  }

  TEST_CASE("a queue near its declarer lives on that shard") {
    from_everywhere([](Cluster& cluster, ShardIndex from) {
      CHECK(cluster.declare(from, a_queue("near"), ConnectionId{}, true) == "ok");
      CHECK(cluster.definition("near").home == from);
      CHECK(cluster.vhost(from).find_queue("near")->queue() != nullptr);
    });
  }

  TEST_CASE("an exclusive queue is locked for other connections on every shard") {
    from_everywhere([](Cluster& cluster, ShardIndex from) {
      const ConnectionId owner{77};
      QueueDefinition wanted = a_queue("mine");
      wanted.exclusive = true;
      wanted.owner = owner;
      CHECK(cluster.declare(from, wanted, owner) == "ok");
      for (ShardIndex other = 0; other < cluster.size(); ++other) {
        wanted.owner = ConnectionId{78};
        CHECK(cluster.declare(other, wanted, ConnectionId{78}).starts_with("RESOURCE_LOCKED"));
      }
      wanted.owner = owner;
      CHECK(cluster.declare(from, wanted, owner) == "ok");
      CHECK(cluster.definition("mine").owner == owner);
    });
  }

  TEST_CASE("a new virtual host is there for everybody, with its exchanges") {
    from_everywhere([](Cluster& cluster, ShardIndex from) {
      const auto add = [&] {
        return cluster.ask(from, [&](Control::Done done) {
          cluster.broker.control().add_vhost(cluster.shard(from), "second", std::move(done));
        });
      };
      CHECK(add() == "ok");
      CHECK(add() == "ok");
      for (ShardIndex index = 0; index < cluster.size(); ++index) {
        REQUIRE(cluster.shard(index).find_vhost("second") != nullptr);
        CHECK(cluster.shard(index).find_vhost("second")->find_exchange("amq.topic") != nullptr);
        CHECK(cluster.shard(index).find_vhost("third") == nullptr);
      }
    });
  }
}

TEST_SUITE("Control: order") {
  TEST_CASE("of two conflicting declares in flight one wins and the other hears why not") {
    Cluster cluster(3);
    Answer transient_one, durable_one;
    cluster.turn(1, [&] {
      cluster.broker.control().declare_queue(cluster.shard(1), "/", a_queue("q"), ConnectionId{},
                                             false, transient_one.done());
    });
    cluster.turn(2, [&] {
      cluster.broker.control().declare_queue(cluster.shard(2), "/", a_durable_queue("q"),
                                             ConnectionId{}, false, durable_one.done());
    });
    cluster.run();
    CHECK(transient_one.text() == "ok");
    CHECK(durable_one.text() ==
          "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received "
          "'true' but current is 'false'");
    for (ShardIndex index = 0; index < 3; ++index) {
      CHECK_FALSE(cluster.vhost(index).find_queue("q")->definition().durable);
    }
  }

  TEST_CASE("equal declares in flight make one queue and both are told so") {
    Cluster cluster(3);
    Answer answers[3];
    for (ShardIndex from = 0; from < 3; ++from) {
      cluster.turn_without_mail(from, [&] {
        cluster.broker.control().declare_queue(cluster.shard(from), "/", a_queue("q"),
                                               ConnectionId{}, true, answers[from].done());
      });
    }
    cluster.run();
    for (const Answer& answer : answers)
      CHECK(answer.text() == "ok");
    const QueueDefinition& definition = cluster.definition("q");
    for (ShardIndex index = 0; index < 3; ++index) {
      CHECK(cluster.vhost(index).find_queue("q")->id() == definition.id);
      CHECK(cluster.vhost(index).find_queue("q")->home() == definition.home);
    }
  }

  TEST_CASE("a deletion is meant for that very queue, not for its namesake") {
    Cluster cluster(2);
    REQUIRE(cluster.declare(1, a_queue("q")) == "ok");
    const QueueId old = cluster.definition("q").id;
    REQUIRE(cluster.delete_queue(1, "q") == "ok");
    REQUIRE(cluster.declare(1, a_queue("q")) == "ok");
    const std::string answer = cluster.ask(1, [&](Control::Done done) {
      cluster.broker.control().delete_queue(cluster.shard(1), "/", "q", old, std::move(done));
    });
    CHECK(answer == "ok");
    CHECK(cluster.replicas_with_queue("q") == 2);
    CHECK_FALSE(cluster.definition("q").id == old);
  }

  TEST_CASE("changes of one shard are answered in the order in which they were asked for") {
    Cluster cluster(3);
    std::vector<std::string> order;
    const auto note = [&order](std::string what) -> Control::Done {
      return [&order, what = std::move(what)](const Result<void, ProtocolError>& result) {
        order.push_back(what + (result ? "" : " refused"));
      };
    };
    cluster.turn(2, [&] {
      Control& control = cluster.broker.control();
      Shard& from = cluster.shard(2);
      control.declare_queue(from, "/", a_durable_queue("a"), {}, false, note("a"));
      control.declare_queue(from, "/", a_queue("b"), {}, false, note("b"));
      control.bind(from, "/", to_queue("amq.fanout", "nobody"), {}, note("bad"));
      control.bind(from, "/", to_queue("amq.fanout", "b"), {}, note("bound"));
      control.declare_queue(from, "/", a_queue("b"), {}, false, note("again"));
    });
    cluster.run();
    CHECK(order == std::vector<std::string>{"a", "b", "bad refused", "bound", "again"});
  }

  TEST_CASE("an answer may ask for the next change") {
    for (const ShardIndex shards : Shards{1, 2, 3}) {
      Cluster cluster(shards);
      Shard& from = cluster.shard(static_cast<ShardIndex>(shards - 1));
      Answer last;
      cluster.turn(from.index(), [&] {
        cluster.broker.control().declare_queue(from, "/", a_durable_queue("first"), {}, false,
                                               [&](const Result<void, ProtocolError>& result) {
                                                 CHECK(result);
                                                 cluster.broker.control().declare_queue(
                                                     from, "/", a_durable_queue("second"), {},
                                                     false, last.done());
                                               });
      });
      cluster.run();
      CHECK(last.text() == "ok");
      CHECK(cluster.replicas_with_queue("second") == shards);
    }
  }
}

TEST_SUITE("Control: durability") {
  TEST_CASE("who hears of a durable change finds it after a crash") {
    for (ShardIndex shards = 1; shards <= 3; ++shards) {
      CAPTURE(shards);
      PendingDeclare pending(shards);
      CHECK_FALSE(pending.answer.came());
      CHECK(pending.cluster->replicas_with_queue("q") == shards);
      pending.store.release();
      pending.cluster->run();
      CHECK(pending.answer.text() == "ok");
      CHECK(pending.replicas_after_crash() == shards);
    }
  }

  TEST_CASE("nobody hears of what a crash takes away") {
    for (ShardIndex shards = 1; shards <= 3; ++shards) {
      CAPTURE(shards);
      PendingDeclare pending(shards);
      CHECK(pending.replicas_after_crash() == 0);
      CHECK_FALSE(pending.answer.came());
    }
  }

  TEST_CASE("a second declarer waits as well") {
    for (ShardIndex shards = 1; shards <= 3; ++shards) {
      CAPTURE(shards);
      PendingDeclare pending(shards);
      Answer second;
      pending.cluster->turn(0, [&] {
        pending.cluster->broker.control().declare_queue(
            pending.cluster->shard(0), "/", a_durable_queue("q"), {}, false, second.done());
      });
      pending.cluster->run();
      CHECK_FALSE(second.came());
      pending.store.release();
      pending.cluster->run();
      CHECK(pending.answer.text() == "ok");
      CHECK(second.text() == "ok");
    }
  }

  TEST_CASE("so does who is told that there is nothing left to delete") {
    for (ShardIndex shards = 1; shards <= 3; ++shards) {
      CAPTURE(shards);
      PendingDeclare pending(shards);
      Answer removed, again;
      pending.cluster->turn(0, [&] {
        Control& control = pending.cluster->broker.control();
        Shard& from = pending.cluster->shard(0);
        const QueueId id = pending.cluster->definition("q").id;
        control.delete_queue(from, "/", "q", id, removed.done());
        control.delete_queue(from, "/", "q", id, again.done());
      });
      pending.cluster->run();
      CHECK_FALSE(removed.came());
      CHECK_FALSE(again.came());
      pending.store.release();
      pending.cluster->run();
      CHECK(removed.text() == "ok");
      CHECK(again.text() == "ok");
      CHECK(pending.replicas_after_crash() == 0);
    }
  }

  TEST_CASE("what is transient waits for no disk") {
    for (ShardIndex shards = 1; shards <= 3; ++shards) {
      CAPTURE(shards);
      Cluster cluster(shards);
      REQUIRE(cluster.declare(0, a_durable_queue("durable")) == "ok");
      REQUIRE(cluster.declare(0, a_durable_exchange("x")) == "ok");
      cluster.store.hold();
      CHECK(cluster.declare(0, a_queue("q")) == "ok");
      CHECK(cluster.declare(0, an_exchange("e")) == "ok");
      CHECK(cluster.bind(0, to_queue("x", "q")) == "ok");  // one of its ends is transient
      CHECK(cluster.bind(0, to_queue("e", "durable")) == "ok");
      CHECK(cluster.unbind(0, to_queue("x", "q")) == "ok");
      CHECK(cluster.declare(0, a_durable_queue("durable")) == "ok");  // stands already
      CHECK(cluster.delete_queue(0, "q") == "ok");
      CHECK(cluster.delete_exchange(0, "e") == "ok");
      CHECK(cluster.bind(0, to_queue("x", "durable")) == "no answer");
      cluster.store.release();
    }
  }

  TEST_CASE("what of a change is durable comes back, whatever its other end was") {
    MemoryStore store;
    {
      Cluster cluster(2, &store);
      REQUIRE(cluster.declare(1, a_durable_queue("dq")) == "ok");
      REQUIRE(cluster.declare(1, a_queue("tq")) == "ok");
      REQUIRE(cluster.declare(1, a_durable_exchange("dx", "topic")) == "ok");
      REQUIRE(cluster.declare(1, an_exchange("tx")) == "ok");
      for (const char* exchange : {"dx", "tx"}) {
        for (const char* queue : {"dq", "tq"}) {
          REQUIRE(cluster.bind(1, to_queue(exchange, queue, "key")) == "ok");
        }
      }
      REQUIRE(cluster.bind(1, to_queue("dx", "dq", "other")) == "ok");
      REQUIRE(cluster.unbind(1, to_queue("dx", "dq", "other")) == "ok");
    }
    store.reopen();
    Cluster again(2, &store);
    CHECK(again.replicas_with_queue("dq") == 2);
    CHECK(again.replicas_with_queue("tq") == 0);
    CHECK(again.replicas_with_exchange("dx") == 2);
    CHECK(again.replicas_with_exchange("tx") == 0);
    CHECK(bindings(again, 0) == 1);
    check_replicas(again);
  }

  TEST_CASE("what was deleted does not come back, nor do its bindings") {
    MemoryStore store;
    {
      Cluster cluster(2, &store);
      REQUIRE(cluster.declare(1, a_durable_queue("q")) == "ok");
      REQUIRE(cluster.declare(1, a_durable_queue("kept")) == "ok");
      REQUIRE(cluster.declare(1, a_durable_exchange("x", "fanout")) == "ok");
      for (const char* exchange : {"x", "amq.fanout"}) {
        REQUIRE(cluster.bind(1, to_queue(exchange, "q")) == "ok");
        REQUIRE(cluster.bind(1, to_queue(exchange, "kept")) == "ok");
      }
      REQUIRE(cluster.delete_queue(1, "q") == "ok");
      REQUIRE(cluster.delete_exchange(0, "x") == "ok");
      // New ones of the same names must not find the old bindings.
      REQUIRE(cluster.declare(1, a_durable_queue("q")) == "ok");
      REQUIRE(cluster.declare(1, a_durable_exchange("x", "fanout")) == "ok");
    }
    store.reopen();
    Cluster again(1, &store);
    CHECK(again.replicas_with_queue("q") == 1);
    CHECK(again.replicas_with_exchange("x") == 1);
    CHECK(bindings(again, 0) == 1);
  }
}

TEST_SUITE("Control: ids and lanes") {
  TEST_CASE("neither is ever given out twice, whatever ends a run") {
    MemoryStore store;
    std::set<std::uint32_t> lanes;
    std::set<std::uint64_t> durable_ids;
    for (int run = 0; run < 6; ++run) {
      CAPTURE(run);
      Cluster cluster(2, &store);
      for (int i = 0; i < 5; ++i) {
        REQUIRE(cluster.declare(1, a_durable_queue("q")) == "ok");
        CHECK(lanes.insert(cluster.definition("q").lane.value).second);
        CHECK(durable_ids.insert(cluster.definition("q").id.value).second);
        REQUIRE(cluster.delete_queue(0, "q") == "ok");
      }
      if (run % 3 == 1) {
        // A lane whose declare was lost in the crash may be had by nobody else either, for its
        // messages could have been written.
        store.hold();
        CHECK(cluster.declare(1, a_durable_queue("lost")) == "no answer");
      } else if (run % 3 == 2) {
        cluster.stop();
      }
      store.reopen();
    }
  }

  TEST_CASE("many more lanes than are reserved at a time stay unique over a restart") {
    MemoryStore store;
    std::set<std::uint32_t> lanes;
    const auto declare_many = [&lanes](Cluster& cluster, const std::string& prefix) {
      std::vector<Answer> answers(1500);
      cluster.turn(0, [&] {
        for (std::size_t i = 0; i < answers.size(); ++i) {
          cluster.broker.control().declare_queue(cluster.shard(0), "/",
                                                 a_durable_queue(prefix + std::to_string(i)), {},
                                                 false, answers[i].done());
        }
      });
      cluster.run();
      for (std::size_t i = 0; i < answers.size(); ++i) {
        REQUIRE(answers[i].text() == "ok");
        lanes.insert(cluster.definition(prefix + std::to_string(i)).lane.value);
      }
    };
    {
      Cluster cluster(1, &store);
      declare_many(cluster, "a");
    }
    store.reopen();
    Cluster again(1, &store);
    declare_many(again, "b");
    CHECK(lanes.size() == 3000);
    CHECK(again.vhost(0).queue_count() == 3000);
  }

  TEST_CASE("a queue that is not durable has an id that no durable one can have") {
    Cluster cluster(2);
    REQUIRE(cluster.declare(0, a_queue("t")) == "ok");
    REQUIRE(cluster.declare(0, a_durable_queue("d")) == "ok");
    CHECK(cluster.definition("t").id.value > UINT32_MAX);
    CHECK(cluster.definition("d").id.value <= UINT32_MAX);
    CHECK(cluster.definition("t").lane == LaneId{});
  }
}
