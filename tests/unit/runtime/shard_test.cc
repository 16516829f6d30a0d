#include "broker/runtime/shard.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tests/unit/runtime/runtime_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

using Notes = std::vector<std::string>;

// Notes the ends of its turns, and does something at each.
class Noting final : public TurnEnd {
 public:
  Noting(Notes& notes, std::string name) : notes_(notes), name_(std::move(name)) {}

  void end_of_turn() override {
    notes_.push_back(name_);
    if (then) std::exchange(then, Task())();
  }

  Task then;

 private:
  Notes& notes_;
  std::string name_;
};

// The queues of shards 0 .. n-1, one each, durable.
std::vector<std::string> declare_one_each(Cluster& cluster) {
  std::vector<std::string> names;
  for (ShardIndex home = 0; home < cluster.size(); ++home) {
    names.push_back(cluster.name_at(home));
    REQUIRE(cluster.declare(0, a_durable_queue(names.back())) == "ok");
    REQUIRE(cluster.definition(names.back()).home == home);
  }
  return names;
}

// How many messages a restarted broker finds in the queues together.
std::size_t recovered_messages(MemoryStore& store, const std::vector<std::string>& names) {
  store.reopen();
  Cluster again(1, &store);
  std::size_t count = 0;
  for (const std::string& name : names)
    count += again.queue(name).ready_count();
  return count;
}

// One persistent message, published by one shard to a queue of each of three, all of which have
// still to take it in.
struct FanOut {
  explicit FanOut(ShardIndex publisher) {
    cluster.turn(publisher, [&] {
      Shard& here = cluster.shard(publisher);
      for (ShardIndex home = 0; home < 3; ++home) {
        const auto enqueue = [this, home] {
          cluster.queue(names[home]).enqueue(persistent("m"), cluster.shard(home).now());
        };
        if (home == publisher) {
          enqueue();
        } else {
          here.send(home, enqueue);
        }
      }
      here.make_atomic(0b111);
      here.when_durable(here.turn_ticket(), [this] { durable = true; });
    });
  }

  MemoryStore store;
  Cluster cluster{3, &store};
  const std::vector<std::string> names = declare_one_each(cluster);
  bool durable = false;
};

}  // namespace

TEST_SUITE("Shard: the turn") {
  TEST_CASE("a subject is told once at the end of the turn, however often it asked") {
    Cluster cluster(1);
    Shard& shard = cluster.shard(0);
    Notes notes;
    Noting a(notes, "a");
    Noting b(notes, "b");
    cluster.turn(0, [&] {
      for (Noting* one : {&a, &b, &a, &b})
        shard.at_turn_end(*one);
      CHECK(notes.empty());
    });
    CHECK(notes == Notes{"a", "b"});
    cluster.turn(0);
    CHECK(notes.size() == 2);
    cluster.turn(0, [&] { shard.at_turn_end(b); });
    CHECK(notes == Notes{"a", "b", "b"});
  }

  TEST_CASE("what a subject lists at the end of the turn ends in the same turn") {
    Cluster cluster(1);
    Shard& shard = cluster.shard(0);
    Notes notes;
    Noting a(notes, "a");
    Noting b(notes, "b");
    a.then = [&] {
      shard.at_turn_end(b);
      shard.at_turn_end(a);
    };
    cluster.turn(0, [&] { shard.at_turn_end(a); });
    CHECK(notes == Notes{"a", "b", "a"});
  }

  TEST_CASE("a subject that went away is not told") {
    Cluster cluster(1);
    Shard& shard = cluster.shard(0);
    Notes notes;
    Noting kept(notes, "kept");
    cluster.turn(0, [&] {
      Noting gone(notes, "gone");
      shard.at_turn_end(gone);
      shard.at_turn_end(kept);
      shard.forget(gone);
      shard.forget(gone);
    });
    CHECK(notes == Notes{"kept"});
  }

  TEST_CASE("time is read once per turn") {
    Cluster cluster(1);
    Shard& shard = cluster.shard(0);
    cluster.turn(0, [&] {
      const Timestamp before = shard.now();
      cluster.clock.advance(Milliseconds(5));
      CHECK(shard.now() == before);
    });
    cluster.turn(0, [&] { CHECK(shard.now() == cluster.clock.now()); });
  }

  TEST_CASE("numbers are unique across shards") {
    Cluster cluster(3);
    std::set<std::uint64_t> numbers;
    for (ShardIndex index = 0; index < 3; ++index) {
      for (int i = 0; i < 100; ++i)
        numbers.insert(cluster.shard(index).next_number());
    }
    CHECK(numbers.size() == 300);
  }
}

TEST_SUITE("Shard: sending") {
  TEST_CASE("tasks arrive in the order they were sent, after the turn") {
    Cluster cluster(2);
    Notes notes;
    const auto note = [&notes](std::string what) {
      return Task([&notes, what = std::move(what)] { notes.push_back(what); });
    };
    cluster.turn(0, [&] {
      cluster.shard(0).send(1, note("1"));
      cluster.shard(0).send(1, note("2"));
      cluster.turn(1);
      CHECK(notes.empty());
    });
    cluster.turn(0, [&] { cluster.shard(0).send(1, note("3")); });
    CHECK(notes.empty());
    cluster.turn(1);
    CHECK(notes == Notes{"1", "2", "3"});
  }

  TEST_CASE("a shard can send to itself") {
    Cluster cluster(1);
    Notes notes;
    cluster.turn(0, [&] {
      cluster.shard(0).send(0, [&notes] { notes.push_back("sent"); });
      notes.push_back("turn");
    });
    cluster.run();
    CHECK(notes == Notes{"turn", "sent"});
  }

  TEST_CASE("a post wakes the shard and runs in its turn") {
    Cluster cluster(2);
    int runs = 0;
    cluster.shard(1).post([&runs] { ++runs; });
    CHECK(runs == 0);
    cluster.run();
    CHECK(runs == 1);
  }
}

TEST_SUITE("Shard: durability") {
  TEST_CASE("what is durable already runs at once") {
    Cluster cluster(1);
    Shard& shard = cluster.shard(0);
    cluster.turn(0, [&] {
      bool ran = false;
      shard.when_durable(shard.durable_ticket(), [&ran] { ran = true; });
      CHECK(ran);
      shard.when_durable(0, [&ran] { ran = false; });
      CHECK_FALSE(ran);
      CHECK_FALSE(shard.batch().sync_wanted());
    });
  }

  TEST_CASE("tasks run in the order of their tickets, in turns, once the store says so") {
    Cluster cluster(1);
    Shard& shard = cluster.shard(0);
    Notes notes;
    cluster.store.hold();
    Ticket first = 0;
    for (const char* name : {"1", "2", "3"}) {
      cluster.turn(0, [&, name] {
        const Ticket ticket = shard.turn_ticket();
        if (first == 0) first = ticket;
        shard.batch().put_record(std::string("zz") + name, "value");
        shard.when_durable(ticket, [&notes, name] { notes.push_back(name); });
        shard.when_durable(ticket, [&notes, name] { notes.push_back(std::string(name) + "b"); });
        CHECK(shard.batch().sync_wanted());
      });
    }
    cluster.run();
    CHECK(notes.empty());
    CHECK(shard.durable_ticket() < first);
    cluster.store.release();
    CHECK(notes.empty());  // the store's thread only tells
    cluster.run();
    CHECK(notes == Notes{"1", "1b", "2", "2b", "3", "3b"});
    CHECK(shard.durable_ticket() >= first + 2);
  }

  TEST_CASE("waiting for a turn that wrote nothing comes to an end as well") {
    Cluster cluster(1);
    Shard& shard = cluster.shard(0);
    bool ran = false;
    cluster.turn(0, [&] { shard.when_durable(shard.turn_ticket(), [&ran] { ran = true; }); });
    cluster.run();
    CHECK(ran);
  }

  TEST_CASE("a task that waits again for its own turn is run later, and what it recorded is kept") {
    Cluster cluster(1);
    Shard& shard = cluster.shard(0);
    Notes notes;
    cluster.turn(0, [&] {
      shard.batch().put_record("zz1", "value");
      shard.when_durable(shard.turn_ticket(), [&] {
        notes.push_back("first");
        shard.batch().put_record("zz2", "value");
        shard.when_durable(shard.turn_ticket(), [&] { notes.push_back("second"); });
      });
    });
    cluster.run();
    CHECK(notes == Notes{"first", "second"});
    int records = 0;
    REQUIRE(
        cluster.store.scan_records("zz", [&](std::string_view, std::string_view) { ++records; }));
    CHECK(records == 2);
  }

  TEST_CASE("a turn with nothing to write submits nothing") {
    Cluster cluster(1);
    const Ticket before = cluster.shard(0).turn_ticket();
    cluster.turn(0);
    CHECK(cluster.shard(0).turn_ticket() == before);
  }

  TEST_CASE("nothing becomes durable after a store failure, and its owner hears of it") {
    for (const ShardIndex shards : Shards{1, 3}) {
      CAPTURE(shards);
      Cluster cluster(shards);
      cluster.store.fail_with({StoreError::Kind::no_space, "no space left"});
      bool ran = false;
      for (int i = 0; i < 3; ++i) {
        cluster.turn(0, [&] {
          Shard& shard = cluster.shard(0);
          shard.batch().put_record("zz", "value");
          shard.when_durable(shard.turn_ticket(), [&ran] { ran = true; });
        });
        cluster.run();
      }
      CHECK_FALSE(ran);
      REQUIRE_FALSE(cluster.failures.empty());
      for (const std::string& failure : cluster.failures)
        CHECK(failure == "no space left");
      if (shards == 1) CHECK(cluster.failures.size() == 1);
    }
  }
}

TEST_SUITE("Shard: make_atomic") {
  TEST_CASE("one shard alone needs no group") {
    Cluster cluster(3);
    cluster.turn(1, [&] {
      cluster.shard(1).make_atomic(0);
      cluster.shard(1).make_atomic(0b010);
      cluster.shard(1).make_atomic(0b100);
      CHECK(cluster.shard(1).batch().groups().empty());
    });
    cluster.turn(2, [&] { CHECK(cluster.shard(2).batch().groups().empty()); });
  }

  TEST_CASE("every shard named joins the group in the turn that takes its part") {
    Cluster cluster(3);
    const auto note_groups = [&](ShardIndex index, std::vector<StoreBatch::GroupPart>& into) {
      cluster.turn(index, [&] { into = cluster.shard(index).batch().groups(); });
    };
    std::vector<StoreBatch::GroupPart> own, first, second;
    cluster.turn(0, [&] {
      cluster.shard(0).make_atomic(0b111);
      own = cluster.shard(0).batch().groups();
    });
    note_groups(1, first);
    note_groups(2, second);
    for (const auto* groups : {&own, &first, &second}) {
      REQUIRE(groups->size() == 1);
      CHECK(groups->front().group == own.front().group);
      CHECK(groups->front().parts == 3);
    }
    cluster.turn(0, [&] {
      cluster.shard(0).make_atomic(0b110);
      CHECK(cluster.shard(0).batch().groups().empty());
    });
    note_groups(1, first);
    note_groups(2, second);
    REQUIRE(first.size() == 1);
    CHECK(first.front().group == second.front().group);
    CHECK_FALSE(first.front().group == own.front().group);
    CHECK(first.front().parts == 2);
  }

  TEST_CASE("a message for queues of several shards is stored once every shard had its turn") {
    for (const ShardIndex publisher : Shards{0, 1, 2}) {
      CAPTURE(publisher);
      FanOut fan_out(publisher);
      fan_out.cluster.run();
      CHECK(fan_out.durable);
      CHECK(recovered_messages(fan_out.store, fan_out.names) == 3);
    }
  }

  TEST_CASE("a crash before that leaves it in none of them") {
    for (const ShardIndex publisher : Shards{0, 1, 2}) {
      for (const ShardIndex missing : Shards{0, 1, 2}) {
        if (missing == publisher) continue;
        CAPTURE(publisher);
        CAPTURE(missing);
        FanOut fan_out(publisher);
        for (const ShardIndex index : Shards{0, 1, 2, 0, 1, 2}) {
          if (index != missing) fan_out.cluster.turn(index);
        }
        CHECK_FALSE(fan_out.durable);
        CHECK(recovered_messages(fan_out.store, fan_out.names) == 0);
      }
    }
  }

  TEST_CASE("groups of two publishers cross without waiting for each other for ever") {
    MemoryStore store;
    Cluster cluster(2, &store);
    const std::vector<std::string> names = declare_one_each(cluster);
    int durable = 0;
    for (const ShardIndex publisher : Shards{0, 1}) {
      const ShardIndex other = publisher == 0 ? 1 : 0;
      cluster.turn_without_mail(publisher, [&] {
        Shard& here = cluster.shard(publisher);
        cluster.queue(names[publisher]).enqueue(persistent("m"), here.now());
        here.send(other, [&cluster, other, &names] {
          cluster.queue(names[other]).enqueue(persistent("m"), cluster.shard(other).now());
        });
        here.make_atomic(0b11);
        here.when_durable(here.turn_ticket(), [&durable] { ++durable; });
      });
    }
    cluster.run();
    CHECK(durable == 2);
    CHECK(recovered_messages(store, names) == 4);
  }
}
