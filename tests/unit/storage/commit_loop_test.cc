#include "storage/commit_loop.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "store_support.h"

namespace harrier {

namespace {

using test::Durability;

// Notes every call. Touched by the committer thread until the loop is stopped or gone.
class FakeTarget final : public CommitTarget {
 public:
  Result<std::uint64_t, StoreError> write(std::span<StoreBatch> batches) override {
    if (gate_closed.load()) {
      writing.store(true);
      writing.notify_all();
      gate_closed.wait(true);
    }
    calls += 'w';
    std::string commit;
    for (const StoreBatch& batch : batches) {
      for (const StoreBatch::Record& record : batch.records())
        commit += record.key;
    }
    commits.push_back(commit);
    if (fail_write) return fail(StoreError{StoreError::Kind::io, "write failed"});
    if (commit == full_at) full.store(true);
    if (full.load()) return fail(StoreError{StoreError::Kind::no_space, "no room"});
    if (!all_vanished) unsynced_ += 100;
    return unsynced_;
  }

  Result<void, StoreError> sync() override {
    calls += 's';
    if (std::exchange(full_at_sync, false)) full.store(true);
    if (full.load()) return fail(StoreError{StoreError::Kind::no_space, "no room"});
    if (fail_sync) return fail(StoreError{StoreError::Kind::io, "sync failed"});
    unsynced_ = 0;
    return {};
  }

  Result<void, StoreError> tidy(bool idle) override {
    calls += idle ? 'i' : 't';
    return {};
  }

  Result<void, StoreError> close() override {
    calls += 'c';
    if (!std::exchange(full_at_close, false)) return {};
    return fail(StoreError{StoreError::Kind::no_space, "a flush found no room"});
  }

  void read(const PageRequest& request, Store::PageReader done) override {
    calls += 'r';
    LanePage page;
    page.next = request.end;
    done(std::move(page));
  }

  void end_reads() override { calls += 'e'; }

  CopyResult copy_to(const std::string& directory) override {
    calls += 'k';
    if (directory.empty()) {
      return Result<void, StoreError>(fail(StoreError{StoreError::Kind::unusable, "no name"}));
    }
    return Result<void, StoreError>();
  }

  Result<void, StoreError> heal() override {
    ++heals;
    heals.notify_all();
    unsynced_ = 0;
    if (full.load()) return fail(StoreError{StoreError::Kind::no_space, "still no room"});
    if (fail_heal) return fail(StoreError{StoreError::Kind::io, "heal failed"});
    return {};
  }

  void close_gate() { gate_closed.store(true); }

  void await_write() { writing.wait(false); }

  void open_gate() {
    gate_closed.store(false);
    gate_closed.notify_all();
  }

  std::string calls;
  std::vector<std::string> commits;
  bool fail_write = false;
  bool fail_sync = false;
  bool all_vanished = false;
  bool fail_heal = false;
  bool full_at_sync = false;
  bool full_at_close = false;  // the first time
  std::string full_at;         // the commit at which the disk gets full
  std::atomic<bool> full{false};
  std::atomic<int> heals{0};
  std::atomic<bool> gate_closed{false};
  std::atomic<bool> writing{false};

 private:
  std::uint64_t unsynced_ = 0;
};

StoreBatch batch_of(std::string key, bool sync = true) {
  StoreBatch batch;
  batch.put_record(std::move(key), "");
  if (sync) batch.want_sync();
  return batch;
}

Ticket submit(CommitLoop& loop, SubmitterId id, StoreBatch batch) {
  return loop.submit(id, batch);
}

// Waits for a group as long as it takes, however slow the machine.
CommitLimits patient() {
  CommitLimits limits;
  limits.group_wait_max = std::chrono::hours(1);
  return limits;
}

StoreBatch part_of(std::string key, std::uint64_t group, std::uint32_t parts) {
  StoreBatch batch = batch_of(std::move(key));
  batch.join_group(GroupId{group}, parts);
  return batch;
}

CommitLimits quick_to_heal() {
  CommitLimits limits;
  limits.unsynced_time_max = std::chrono::hours(1);
  limits.heal_pause = std::chrono::milliseconds(1);
  return limits;
}

// Remembers what it is told about space: 'f' for full, 'r' for room.
struct SpaceListener {
  StoreListener listener(Durability& durability) {
    StoreListener made = durability.listener();
    made.on_space = [this](bool is_full) { told += is_full ? 'f' : 'r'; };
    return made;
  }

  std::string told;
};

PageRequest page_of(std::uint32_t lane, Sequence from = 1, Sequence end = 2) {
  return {.lane = LaneId{lane}, .from = from, .end = end, .bytes_max = 1};
}

StoreBatch put_in(std::uint32_t lane, Sequence seq) {
  StoreBatch batch = batch_of("put");
  batch.put(LaneId{lane}, seq, test::text_message("x"), kNoTime, kNoTime);
  return batch;
}

// Sets `read` when the page is there, to where it ends.
Store::PageReader note(std::atomic<Sequence>& read) {
  return [&read](LanePage&& page) {
    read = page.next;
    read.notify_all();
  };
}

}  // namespace

TEST_SUITE("commit loop") {
  TEST_CASE("a batch somebody waits for is written, synced and told") {
    FakeTarget target;
    Durability durability;
    CommitLoop loop(target);
    const SubmitterId id = loop.add_submitter(durability.listener());
    CHECK(submit(loop, id, batch_of("a")) == 1);
    durability.await(1);
    loop.stop();
    CHECK(target.calls == "wstec");
    CHECK(durability.durable() == 1);
    CHECK(durability.failures() == 0);
  }

  TEST_CASE("what arrives during a commit shares the next one") {
    FakeTarget target;
    Durability one;
    Durability two;
    CommitLoop loop(target);
    const SubmitterId first = loop.add_submitter(one.listener());
    const SubmitterId second = loop.add_submitter(two.listener());
    target.close_gate();
    submit(loop, first, batch_of("a"));
    target.await_write();
    submit(loop, second, batch_of("b"));
    submit(loop, first, batch_of("c", false));
    submit(loop, second, batch_of("d"));
    target.open_gate();
    two.await(2);
    loop.stop();
    CHECK(target.commits == std::vector<std::string>{"a", "bcd"});
    CHECK(one.durable() == 2);
  }

  TEST_CASE("nobody waiting, a sync comes by itself") {
    FakeTarget target;
    Durability durability;
    CommitLoop loop(target, {.unsynced_time_max = std::chrono::milliseconds(5)});
    const SubmitterId id = loop.add_submitter(durability.listener());
    submit(loop, id, batch_of("a", false));
    durability.await(1);
    loop.stop();
    CHECK(target.calls == "wstec");
  }

  TEST_CASE("much unsynced is synced without waiting") {
    FakeTarget target;
    Durability durability;
    CommitLoop loop(target,
                    {.unsynced_bytes_max = 50, .unsynced_time_max = std::chrono::minutes(10)});
    const SubmitterId id = loop.add_submitter(durability.listener());
    submit(loop, id, batch_of("a", false));
    durability.await(1);
    loop.stop();
    CHECK(target.calls == "wstec");
  }

  TEST_CASE("a commit of which nothing had to be written needs no sync") {
    FakeTarget target;
    target.all_vanished = true;
    Durability durability;
    CommitLoop loop(target);
    const SubmitterId id = loop.add_submitter(durability.listener());
    submit(loop, id, batch_of("a"));
    durability.await(1);
    loop.stop();
    CHECK(target.calls == "wtec");
  }

  TEST_CASE("a commit is limited, a batch is never split") {
    FakeTarget target;
    Durability durability;
    CommitLoop loop(target, {.operations_max = 2});
    const SubmitterId id = loop.add_submitter(durability.listener());
    target.close_gate();
    submit(loop, id, batch_of("a"));
    target.await_write();
    StoreBatch large = batch_of("b");
    large.put_record("c", "");
    large.put_record("d", "");
    submit(loop, id, std::move(large));
    submit(loop, id, batch_of("e"));
    submit(loop, id, batch_of("f"));
    submit(loop, id, batch_of("g"));
    target.open_gate();
    durability.await(5);
    loop.stop();
    CHECK(target.commits == std::vector<std::string>{"a", "bcd", "ef", "g"});
  }

  TEST_CASE("submit gives a cleared batch back") {
    FakeTarget target;
    CommitLoop loop(target);
    const SubmitterId id = loop.add_submitter({});
    StoreBatch batch = part_of("a", 1, 1);
    loop.submit(id, batch);
    CHECK(batch.empty());
    CHECK_FALSE(batch.sync_wanted());
    CHECK(batch.records().empty());
    CHECK(batch.bytes() == 0);
  }

  TEST_CASE("stop writes what was submitted and may be called again") {
    FakeTarget target;
    Durability durability;
    CommitLoop loop(target);
    const SubmitterId id = loop.add_submitter(durability.listener());
    for (const char* key : {"a", "b", "c"})
      submit(loop, id, batch_of(key, false));
    loop.stop();
    loop.stop();
    CHECK(durability.durable() == 3);
    CHECK(target.calls.ends_with("stc"));
    CHECK(target.calls.find('c') == target.calls.size() - 1);
  }

  TEST_CASE("stop without any batch still leaves the mark") {
    FakeTarget target;
    CommitLoop loop(target);
    loop.stop();
    CHECK(target.calls == "ec");
  }

  TEST_CASE("without stop no mark is left") {
    FakeTarget target;
    Durability durability;
    {
      CommitLoop loop(target);
      const SubmitterId id = loop.add_submitter(durability.listener());
      submit(loop, id, batch_of("a"));
      durability.await(1);
    }
    CHECK(target.calls.find('c') == std::string::npos);
  }
}

TEST_SUITE("commit loop groups") {
  TEST_CASE("a part waits for the others, and so does all that came after it") {
    FakeTarget target;
    Durability one;
    Durability two;
    CommitLoop loop(target, patient());
    const SubmitterId first = loop.add_submitter(one.listener());
    const SubmitterId second = loop.add_submitter(two.listener());
    submit(loop, first, batch_of("a"));
    one.await(1);
    submit(loop, first, part_of("b", 7, 2));
    submit(loop, first, batch_of("c"));
    submit(loop, second, part_of("d", 7, 2));
    two.await(1);
    loop.stop();
    CHECK(target.commits == std::vector<std::string>{"a", "bcd"});
  }

  TEST_CASE("chained groups become durable together") {
    FakeTarget target;
    Durability one;
    Durability two;
    CommitLoop loop(target, patient());
    const SubmitterId first = loop.add_submitter(one.listener());
    const SubmitterId second = loop.add_submitter(two.listener());
    submit(loop, first, part_of("a", 1, 2));
    StoreBatch both = part_of("b", 1, 2);
    both.join_group(GroupId{2}, 3);
    submit(loop, second, std::move(both));
    submit(loop, first, part_of("c", 2, 3));
    submit(loop, second, part_of("d", 2, 3));
    two.await(2);
    loop.stop();
    CHECK(target.commits == std::vector<std::string>{"abcd"});
  }

  TEST_CASE("what precedes an incomplete group is not held back") {
    FakeTarget target;
    Durability durability;
    CommitLoop loop(target, patient());
    const SubmitterId id = loop.add_submitter(durability.listener());
    target.close_gate();
    submit(loop, id, batch_of("a"));
    target.await_write();
    submit(loop, id, batch_of("b"));
    submit(loop, id, part_of("c", 1, 2));
    target.open_gate();
    durability.await(2);
    CHECK(durability.durable() == 2);
    loop.stop();
    // At the end nothing more can come for it: it is as if the process had been killed.
    CHECK(target.commits == std::vector<std::string>{"a", "b"});
    CHECK(durability.durable() == 2);
    CHECK(target.calls.find('c') == std::string::npos);
  }

  TEST_CASE("groups that overlap without end are held until what waits is written, untorn") {
    FakeTarget target;
    Durability one;
    Durability two;
    CommitLimits limits;
    limits.group_wait_max = std::chrono::milliseconds(0);
    CommitLoop loop(target, limits);
    std::atomic<int> holds{0};
    std::atomic<bool> held{false};
    StoreListener listener = one.listener();
    listener.on_group_hold = [&](bool hold) {
      holds += hold ? 1 : 0;
      held = hold;
      held.notify_all();
    };
    const SubmitterId first = loop.add_submitter(std::move(listener));
    const SubmitterId second = loop.add_submitter(two.listener());
    // Each batch completes one group and begins another, until that is not wanted any more.
    submit(loop, first, part_of("a", 1, 2));
    std::uint64_t group = 1;
    for (; !held; ++group) {
      StoreBatch both = part_of("b", group, 2);
      both.join_group(GroupId{group + 1}, 2);
      submit(loop, group % 2 == 1 ? second : first, std::move(both));
    }
    CHECK(target.commits.empty());
    StoreBatch last = part_of("c", group, 2);
    submit(loop, group % 2 == 1 ? second : first, std::move(last));
    held.wait(true);
    CHECK(holds == 1);
    submit(loop, first, batch_of("d"));
    loop.stop();
    std::string all;
    for (const std::string& commit : target.commits)
      all += commit;
    CHECK(all.size() == group + 2);
    CHECK(target.commits.back() == "d");
  }
}

TEST_SUITE("commit loop reads") {
  TEST_CASE("a page comes after the batches before it are written, without waiting for a sync") {
    FakeTarget target;
    Durability durability;
    std::atomic<Sequence> read{0};
    CommitLoop loop(target);
    const SubmitterId id = loop.add_submitter(durability.listener());
    target.close_gate();
    submit(loop, id, batch_of("a"));
    target.await_write();
    submit(loop, id, batch_of("b"));
    loop.read(page_of(1), note(read));
    CHECK(read.load() == 0);
    target.open_gate();
    durability.await(2);
    loop.stop();
    CHECK(read.load() == 2);
    CHECK(target.calls == "wstwrstec");
  }

  TEST_CASE("a page needs no batch at all") {
    FakeTarget target;
    std::atomic<Sequence> read{0};
    CommitLoop loop(target);
    loop.add_submitter({});
    loop.read(page_of(1), note(read));
    read.wait(0);
    loop.stop();
    CHECK(target.calls == "rec");
  }

  TEST_CASE("an open group delays only what it puts itself") {
    FakeTarget target;
    Durability durability;
    std::atomic<Sequence> put{0};
    std::atomic<Sequence> before{0};
    std::atomic<Sequence> other{0};
    CommitLoop loop(target, patient());
    const SubmitterId id = loop.add_submitter(durability.listener());
    StoreBatch part = put_in(7, 5);
    part.settle(LaneId{8}, 1, {});
    part.join_group(GroupId{1}, 2);
    submit(loop, id, std::move(part));
    loop.read(page_of(7, 5, 9), note(put));
    loop.read(page_of(7, 1, 9), note(before));
    loop.read(page_of(8), note(other));
    other.wait(0);
    CHECK(before.load() == 5);
    CHECK(put.load() == 0);
    submit(loop, id, part_of("rest", 1, 2));
    durability.await(2);
    loop.stop();
    CHECK(put.load() == 9);
    CHECK(target.calls == "rrwrstec");
  }

  TEST_CASE("after a failure or a stop no page comes") {
    for (const bool fails : {true, false}) {
      CAPTURE(fails);
      FakeTarget target;
      target.fail_write = fails;
      Durability durability;
      std::atomic<Sequence> read{0};
      CommitLoop loop(target);
      const SubmitterId id = loop.add_submitter(durability.listener());
      if (fails) {
        submit(loop, id, batch_of("a"));
        durability.await(1);
      } else {
        loop.stop();
      }
      loop.read(page_of(1), note(read));
      loop.stop();
      CHECK(read.load() == 0);
      CHECK(target.calls.find('r') == std::string::npos);
    }
  }
}

TEST_SUITE("commit loop copy") {
  TEST_CASE("a copy is made between commits, of what is synced") {
    FakeTarget target;
    CommitLoop loop(target, {.unsynced_time_max = std::chrono::hours(1)});
    Durability durability;
    const SubmitterId submitter = loop.add_submitter(durability.listener());
    StoreBatch batch = batch_of("a", false);
    target.close_gate();
    loop.submit(submitter, batch);
    target.await_write();
    bool copied = false;
    loop.copy_to("there", [&](const Result<void, StoreError>& done) {
      CHECK(done.has_value());
      copied = true;
    });
    target.open_gate();
    loop.stop();
    CHECK(copied);
    CHECK(target.calls.starts_with("wstk"));
  }

  TEST_CASE("a copy that fails is told and harms nothing else") {
    FakeTarget target;
    CommitLoop loop(target);
    Durability durability;
    const SubmitterId submitter = loop.add_submitter(durability.listener());
    std::string told;
    loop.copy_to("", [&](const Result<void, StoreError>& done) { told = done.error().detail; });
    StoreBatch batch = batch_of("a");
    const Ticket ticket = loop.submit(submitter, batch);
    durability.await(ticket);
    loop.stop();
    CHECK(told == "no name");
    CHECK(durability.failures() == 0);
    CHECK(durability.durable() == ticket);
  }

  TEST_CASE("a store that failed makes no copies") {
    FakeTarget target;
    target.fail_sync = true;
    CommitLoop loop(target);
    Durability durability;
    const SubmitterId submitter = loop.add_submitter(durability.listener());
    StoreBatch batch = batch_of("a");
    durability.await(loop.submit(submitter, batch));
    std::string told;
    loop.copy_to("there",
                 [&](const Result<void, StoreError>& done) { told = done.error().detail; });
    loop.stop();
    CHECK(told == "the store has failed");
    CHECK(target.calls.find('k') == std::string::npos);
  }
}

TEST_SUITE("commit loop failures") {
  TEST_CASE("after a failed write or sync nothing is confirmed and everybody hears it once") {
    for (const bool write_fails : {true, false}) {
      CAPTURE(write_fails);
      FakeTarget target;
      target.fail_write = write_fails;
      target.fail_sync = !write_fails;
      Durability one;
      Durability two;
      CommitLoop loop(target);
      const SubmitterId first = loop.add_submitter(one.listener());
      const SubmitterId second = loop.add_submitter(two.listener());
      submit(loop, first, batch_of("a"));
      one.await(1);
      two.await(1);
      submit(loop, second, batch_of("b"));
      loop.stop();
      CHECK(target.calls == (write_fails ? "we" : "wse"));
      for (const Durability* durability : {&one, &two}) {
        CHECK(durability->durable() == 0);
        CHECK(durability->failures() == 1);
      }
    }
  }
}

TEST_SUITE("commit loop on a full disk") {
  TEST_CASE("what is not synced is written again, in one commit and in order") {
    FakeTarget target;
    target.full_at = "c";
    Durability durability;
    SpaceListener space;
    CommitLoop loop(target, quick_to_heal());
    const SubmitterId id = loop.add_submitter(space.listener(durability));
    submit(loop, id, batch_of("a"));
    durability.await(1);
    target.close_gate();
    submit(loop, id, batch_of("b", false));
    target.await_write();
    submit(loop, id, batch_of("c"));
    target.open_gate();
    target.heals.wait(0);
    CHECK(durability.durable() == 1);
    submit(loop, id, batch_of("d"));
    target.full_at.clear();
    target.full.store(false);
    durability.await(4);
    loop.stop();
    CHECK(durability.durable() == 4);
    CHECK(durability.failures() == 0);
    CHECK(space.told == "fr");
    CHECK(target.commits == std::vector<std::string>{"a", "b", "c", "bc", "d"});
  }

  TEST_CASE("pages are read meanwhile, up to what is not written") {
    FakeTarget target;
    target.full.store(true);
    Durability durability;
    std::atomic<Sequence> unwritten{0};
    std::atomic<Sequence> written{0};
    CommitLoop loop(target, quick_to_heal());
    const SubmitterId id = loop.add_submitter(durability.listener());
    submit(loop, id, put_in(7, 5));
    target.heals.wait(0);
    submit(loop, id, put_in(7, 6));
    submit(loop, id, put_in(8, 3));
    loop.read(page_of(7, 5, 7), note(unwritten));
    loop.read(page_of(8, 1, 4), note(written));
    written.wait(0);
    CHECK(written.load() == 3);
    CHECK(unwritten.load() == 0);
    CHECK(durability.durable() == 0);
    target.full.store(false);
    durability.await(3);
    unwritten.wait(0);
    CHECK(unwritten.load() == 7);
    loop.stop();
    CHECK(target.commits.back() == "putput");
  }

  TEST_CASE("what came meanwhile is written without a further call") {
    FakeTarget target;
    Durability durability;
    CommitLimits limits = quick_to_heal();
    limits.unsynced_time_max = std::chrono::milliseconds(1);
    CommitLoop loop(target, limits);
    const SubmitterId id = loop.add_submitter(durability.listener());
    target.full_at_sync = true;
    submit(loop, id, batch_of("a", false));
    target.heals.wait(0);
    submit(loop, id, batch_of("b"));
    loop.read(page_of(1), [](LanePage&&) {});
    target.full.store(false);
    durability.await(2);
    CHECK(durability.durable() == 2);
  }

  TEST_CASE("an error that is no matter of space ends the store") {
    FakeTarget target;
    target.fail_heal = true;
    target.full.store(true);
    Durability durability;
    CommitLoop loop(target, quick_to_heal());
    const SubmitterId id = loop.add_submitter(durability.listener());
    submit(loop, id, batch_of("a"));
    target.heals.wait(0);
    target.full.store(false);
    durability.await(1);
    CHECK(durability.durable() == 0);
    CHECK(durability.failures() == 1);
  }

  TEST_CASE("a stop tries once more, then gives up") {
    FakeTarget target;
    target.full.store(true);
    Durability durability;
    CommitLimits limits;
    limits.heal_pause = std::chrono::hours(1);
    CommitLoop loop(target, limits);
    const SubmitterId id = loop.add_submitter(durability.listener());
    submit(loop, id, batch_of("a"));
    loop.stop();
    CHECK(target.heals.load() == 1);
    CHECK(durability.durable() == 0);
    CHECK(durability.failures() == 1);
  }

  TEST_CASE("a stop that finds the disk full heals it and ends clean") {
    FakeTarget target;
    target.full_at_close = true;
    Durability durability;
    CommitLoop loop(target, quick_to_heal());
    const SubmitterId id = loop.add_submitter(durability.listener());
    submit(loop, id, batch_of("a"));
    loop.stop();
    CHECK(target.heals.load() == 1);
    CHECK(target.calls.ends_with("csc"));
    CHECK(durability.durable() == 1);
    CHECK(durability.failures() == 0);
  }

  TEST_CASE("the end of the loop does not wait for space") {
    FakeTarget target;
    target.full.store(true);
    Durability durability;
    {
      CommitLimits limits;
      limits.heal_pause = std::chrono::hours(1);
      CommitLoop loop(target, limits);
      const SubmitterId id = loop.add_submitter(durability.listener());
      submit(loop, id, batch_of("a"));
    }
    CHECK(durability.durable() == 0);
    CHECK(durability.failures() == 0);
  }
}

}  // namespace harrier
