#include "broker/session/publisher_confirms.h"

#include <cstdint>

#include <doctest/doctest.h>

#include "broker/session/unacked_tags.h"

using namespace harrier;

namespace {

// The last number confirmed and the length of the run.
struct Run {
  std::uint64_t last = 0;
  std::size_t count = 0;

  friend bool operator==(const Run&, const Run&) = default;
};

Run take(PublisherConfirms& confirms, Ticket durable) {
  const PublisherConfirms::Run run = confirms.take_ready(durable);
  return {run.last, run.count};
}

}  // namespace

TEST_SUITE("PublisherConfirms") {
  TEST_CASE("without publishes there is nothing to confirm") {
    PublisherConfirms confirms;
    CHECK(confirms.next() == 1);
    CHECK(take(confirms, 100) == Run{0, 0});
  }

  TEST_CASE("what was refused is answered in its place, by a run of its own") {
    PublisherConfirms confirms;
    confirms.add(0, 0);
    confirms.add(0, 0, Verdict::refused);
    confirms.add(0, 2);
    confirms.add(0, 0);
    confirms.share_done(3, Verdict::refused);
    confirms.share_done(3);
    const Verdict expected[] = {Verdict::taken, Verdict::refused, Verdict::taken};
    const std::size_t counts[] = {1, 2, 1};
    for (int i = 0; i < 3; ++i) {
      const PublisherConfirms::Run run = confirms.take_ready(0);
      CHECK(run.verdict == expected[i]);
      CHECK(run.count == counts[i]);
    }
    CHECK(take(confirms, 0) == Run{0, 0});
  }

  TEST_CASE("publishes are numbered from 1, whatever was confirmed") {
    PublisherConfirms confirms;
    for (std::uint64_t number = 1; number <= 5; ++number) {
      CHECK(confirms.next() == number);
      CHECK(confirms.add(0, 0) == number);
      if (number == 3) CHECK(take(confirms, 0) == Run{3, 3});
    }
    CHECK(confirms.unconfirmed() == 2);
  }

  TEST_CASE("a run ends at the first that is not durable") {
    PublisherConfirms confirms;
    confirms.add(0, 0);
    confirms.add(5, 0);
    confirms.add(5, 0);
    confirms.add(6, 0);
    confirms.add(0, 0);
    CHECK(take(confirms, 4) == Run{1, 1});
    CHECK(take(confirms, 4) == Run{0, 0});
    CHECK(take(confirms, 5) == Run{3, 2});
    CHECK(confirms.unconfirmed() == 2);
    CHECK(take(confirms, 7) == Run{5, 2});
    CHECK(confirms.unconfirmed() == 0);
  }

  TEST_CASE("a publish waits for its shares elsewhere and for its own ticket") {
    PublisherConfirms confirms;
    confirms.add(3, 2);
    confirms.add(0, 0);
    CHECK(take(confirms, 3) == Run{0, 0});
    confirms.share_done(1);
    CHECK(take(confirms, 3) == Run{0, 0});
    confirms.share_done(1);
    CHECK(take(confirms, 2) == Run{0, 0});
    CHECK(take(confirms, 3) == Run{2, 2});
  }

  TEST_CASE("shares may be done out of order, answers stay in order") {
    PublisherConfirms confirms;
    for (int i = 0; i < 4; ++i)
      confirms.add(0, 1);
    confirms.share_done(4);
    confirms.share_done(2);
    CHECK(take(confirms, 0) == Run{0, 0});
    confirms.share_done(1);
    CHECK(take(confirms, 0) == Run{2, 2});
    confirms.share_done(3);
    CHECK(take(confirms, 0) == Run{4, 2});
  }

  TEST_CASE("a share of a publish that is confirmed or unknown is ignored") {
    PublisherConfirms confirms;
    confirms.add(0, 0);
    CHECK(take(confirms, 0) == Run{1, 1});
    confirms.share_done(1);
    confirms.share_done(0);
    confirms.share_done(2);
    confirms.add(0, 1);
    CHECK(take(confirms, 0) == Run{0, 0});
    confirms.share_done(2);
    CHECK(take(confirms, 0) == Run{2, 1});
  }
}

TEST_SUITE("UnackedTags") {
  TEST_CASE("tags ascend from 1 and those of no-ack deliveries are used up") {
    UnackedTags tags;
    CHECK(tags.push({QueueRef(), 7, false, false}) == 1);
    tags.skip_to(tags.end() + 1);
    CHECK(tags.push({QueueRef(), 8, true, false}) == 3);
    CHECK(tags.find(2) == nullptr);
    CHECK(tags.find(3)->seq == 8);
    tags.finish(1);
    CHECK(tags.next_unfinished(0) == 3);
  }

  TEST_CASE("a settled delivery lets go of its queue") {
    const QueueRef queue(new QueueHandle(QueueDefinition{}));
    {
      UnackedTags tags;
      tags.push({queue, 1, false, false});
      tags.push({queue, 2, false, false});
      tags.finish(1);
    }
    CHECK(queue->name().empty());  // the sanitizers see whether it leaks or went too early
  }
}
