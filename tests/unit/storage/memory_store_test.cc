#include "storage/memory_store.h"

#include <string>

#include <doctest/doctest.h>

#include "store_support.h"

namespace harrier {

namespace {

using test::Durability;
using test::read_all;
using test::text_message;

constexpr LaneId kLane{3};

StoreBatch with_put(Sequence seq) {
  StoreBatch batch;
  batch.put(kLane, seq, text_message("body"), kNoTime, kNoTime);
  return batch;
}

Ticket submit(MemoryStore& store, SubmitterId id, StoreBatch batch) {
  return store.submit(id, batch);
}

}  // namespace

TEST_SUITE("memory store") {
  TEST_CASE("batches are durable at once") {
    MemoryStore store;
    Durability durability;
    const SubmitterId id = store.add_submitter(durability.listener());
    CHECK(submit(store, id, with_put(1)) == 1);
    CHECK(durability.durable() == 1);
    store.reopen();
    CHECK(read_all(store, {kLane}).sequences(kLane) == std::vector<Sequence>{1});
  }

  TEST_CASE("held batches are durable when released, and lost in a crash") {
    MemoryStore store;
    Durability durability;
    const SubmitterId id = store.add_submitter(durability.listener());
    store.hold();
    submit(store, id, with_put(1));
    CHECK(durability.durable() == 0);
    store.release();
    CHECK(durability.durable() == 1);
    store.hold();
    submit(store, id, with_put(2));
    store.crash();
    store.reopen();
    CHECK(read_all(store, {kLane}).sequences(kLane) == std::vector<Sequence>{1});
  }

  TEST_CASE("a group becomes durable whole, with all that was submitted before its last part") {
    MemoryStore store;
    Durability one;
    Durability two;
    const SubmitterId first = store.add_submitter(one.listener());
    const SubmitterId second = store.add_submitter(two.listener());
    StoreBatch part = with_put(1);
    part.join_group(GroupId{5}, 2);
    store.submit(first, part);
    submit(store, first, with_put(2));
    CHECK(one.durable() == 0);
    StoreBatch other;
    other.put_record("key", "value");
    other.join_group(GroupId{5}, 2);
    store.submit(second, other);
    CHECK(one.durable() == 2);
    CHECK(two.durable() == 1);
  }

  TEST_CASE("entries come back as redelivered unless the stop was clean") {
    for (const bool clean : {true, false}) {
      CAPTURE(clean);
      MemoryStore store;
      const SubmitterId id = store.add_submitter({});
      submit(store, id, with_put(1));
      submit(store, id, with_put(2));
      StoreBatch delivered;
      delivered.delivered_below(kLane, 2);
      store.submit(id, delivered);
      if (clean) store.stop();
      store.reopen();
      const auto content = read_all(store, {kLane});
      CHECK(content.entries.at({kLane.value, 1}).redelivered);
      CHECK(content.entries.at({kLane.value, 2}).redelivered == !clean);
    }
  }

  TEST_CASE("a failure is told to everybody once and confirms nothing") {
    MemoryStore store;
    Durability one;
    Durability two;
    const SubmitterId first = store.add_submitter(one.listener());
    store.add_submitter(two.listener());
    store.fail_with({StoreError::Kind::io, "no luck"});
    submit(store, first, with_put(1));
    submit(store, first, with_put(2));
    CHECK(one.durable() == 0);
    CHECK(one.failures() == 1);
    CHECK(two.failures() == 1);
  }

  TEST_CASE("a dropped lane ignores what comes after") {
    MemoryStore store;
    const SubmitterId id = store.add_submitter({});
    submit(store, id, with_put(1));
    StoreBatch drop;
    drop.drop_lane(kLane);
    drop.settle(kLane, 7, {});
    store.submit(id, drop);
    submit(store, id, with_put(8));
    store.reopen();
    const auto content = read_all(store, {kLane});
    CHECK(content.entries.empty());
    CHECK(content.next_seq.at(kLane.value) == 1);
  }

  TEST_CASE("a page has the unsettled entries of its range, up to so many octets") {
    MemoryStore store;
    const SubmitterId id = store.add_submitter({});
    StoreBatch batch;
    for (Sequence seq = 1; seq <= 9; ++seq)
      batch.put(kLane, seq, text_message("body"), kNoTime, kNoTime);
    batch.settle(kLane, 4, {1, 4});
    store.submit(id, batch);
    LanePage page = test::read_page(store, {.lane = kLane, .from = 3, .end = 8});
    CHECK(test::sequences_in(page) == std::vector<Sequence>{3, 5, 6, 7});
    CHECK(page.next == 8);
    page = test::read_page(store, {.lane = kLane, .from = 3, .end = 8, .bytes_max = 1});
    CHECK(test::sequences_in(page) == std::vector<Sequence>{3});
    CHECK(page.next == 5);
    page = test::read_page(store, {.lane = LaneId{99}, .from = 3, .end = 8});
    CHECK(page.entries.empty());
    CHECK(page.next == 8);
  }

  TEST_CASE("a page is read when the batches before it are released") {
    MemoryStore store;
    const SubmitterId id = store.add_submitter({});
    store.hold();
    submit(store, id, with_put(1));
    std::vector<Sequence> seen;
    int pages = 0;
    const auto note = [&](LanePage&& page) {
      ++pages;
      seen = test::sequences_in(page);
    };
    store.read({.lane = kLane, .from = 1, .end = 9}, note);
    CHECK(pages == 0);
    store.release();
    CHECK(pages == 1);
    CHECK(seen == std::vector<Sequence>{1});
    store.hold();
    store.read({.lane = kLane, .from = 1, .end = 9}, note);
    store.crash();
    store.release();
    CHECK(pages == 1);
  }

  TEST_CASE("a reader may read again") {
    MemoryStore store;
    const SubmitterId id = store.add_submitter({});
    submit(store, id, with_put(1));
    submit(store, id, with_put(2));
    std::vector<Sequence> seen;
    const PageRequest all{.lane = kLane, .from = 1, .end = 3, .bytes_max = 1};
    store.read(all, [&](LanePage&& first) {
      seen = test::sequences_in(first);
      store.read({.lane = kLane, .from = first.next, .end = 3}, [&](LanePage&& second) {
        for (const Sequence seq : test::sequences_in(second))
          seen.push_back(seq);
      });
    });
    CHECK(seen == std::vector<Sequence>{1, 2});
  }

  TEST_CASE("transient entries come back in this run only and are not counted") {
    MemoryStore store;
    const SubmitterId id = store.add_submitter({});
    StoreBatch batch;
    batch.put(kLane, 1, test::transient_message("gone"), kNoTime, kNoTime);
    batch.put(kLane, 2, text_message("12345"), kNoTime, kNoTime);
    store.submit(id, batch);
    const PageRequest all{.lane = kLane, .from = 1, .end = 9};
    CHECK(test::sequences_in(test::read_page(store, all)) == std::vector<Sequence>{1, 2});
    store.reopen();
    const auto content = read_all(store, {kLane});
    CHECK(content.sequences(kLane) == std::vector<Sequence>{2});
    CHECK(content.tally.at(kLane.value) == Tally{1, 5});
    CHECK(test::sequences_in(test::read_page(store, all)) == std::vector<Sequence>{2});
  }
}

}  // namespace harrier
