// A queue with time to live, limits, dead letters, delivery limit and priorities, used at random on
// a clock that the test moves. After every step each message is in one place, and every limit kept.
//
//   HARRIER_SEED=n    begins with that seed
//   HARRIER_STEPS=n   steps per round instead of 20,000

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "broker/core/queue.h"
#include "tests/unit/queue/life_host.h"
#include "tests/unit/queue/life_model.h"
#include "tests/unit/queue/queue_fixture.h"

using namespace harrier;
using namespace harrier::test;

namespace {

struct Mode {
  std::string_view name;
  bool paging;  // memory for a few messages only: the model is not exact
  bool durable;
  bool dead_letters;
  std::uint8_t priorities;
};

constexpr std::array kModes = {
    Mode{"in memory, one priority", false, false, true, 0},
    Mode{"in memory, priorities", false, false, true, 4},
    Mode{"stored, no dead letters", false, true, false, 2},
    Mode{"stored, priorities", false, true, true, 255},
    Mode{"paged, one priority", true, true, true, 0},
    Mode{"paged, priorities", true, true, true, 4},
    Mode{"paged, transient", true, false, true, 2},
};

QueueDefinition definition_of(const Mode& mode) {
  QueueDefinition made = mode.durable ? durable_queue() : transient_queue();
  if (mode.priorities > 0) made.arguments.set("x-max-priority", Value::int64(mode.priorities));
  return made;
}

class LifeRun {
 public:
  LifeRun(unsigned seed, const Mode& mode)
      : mode_(mode),
        random_(seed),
        model_(!mode.paging),
        handle_(new QueueHandle(definition_of(mode))),
        host_(mode.paging ? 0 : QueueBench::kPlenty),
        queue_(*handle_, host_) {
    handle_->attach(&queue_);
    host_.on_letter = [this](const DeadLetter& letter) { on_letter(letter); };
    change_settings();
  }

  // A feature adds a row.
  void step() {
    struct Operation {
      unsigned weight;
      void (LifeRun::*run)();
    };

    static constexpr std::array kOperations = {
        Operation{250, &LifeRun::publish},
        Operation{20, &LifeRun::publish_many},
        Operation{40, &LifeRun::transaction},
        Operation{300, &LifeRun::settle_some},
        Operation{80, &LifeRun::get},
        Operation{80, &LifeRun::open_or_shut},
        Operation{40, &LifeRun::subscribe},
        Operation{30, &LifeRun::cancel},
        Operation{150, &LifeRun::let_time_pass},
        Operation{80, &LifeRun::bury},
        Operation{8, &LifeRun::change_settings},
        Operation{4, &LifeRun::purge},
    };
    static constexpr unsigned kSum = [] {
      unsigned sum = 0;
      for (const Operation& one : kOperations)
        sum += one.weight;
      return sum;
    }();
    if (model_.ready.size() > 500) purge();
    if (letters_.size() > 200) bury_all();
    unsigned dice = below(kSum);
    const Operation* chosen = kOperations.begin();
    for (; dice >= chosen->weight; ++chosen)
      dice -= chosen->weight;
    (this->*chosen->run)();
    check();
  }

  // Nothing is left anywhere once all is settled.
  void drain() {
    for (auto& consumer : consumers_) {
      if (consumer->record != nullptr) {
        (void)queue_.cancel(*std::exchange(consumer->record, nullptr));
      }
    }
    do {
      get();
      while (!model_.unacked.empty())
        settle(model_.unacked.begin()->first, Settlement::ack);
      pump();
      turns();
    } while (queue_.ready_count() > 0);
    bury_all();
    check_all();
    REQUIRE(model_.in_queue() == 0);
    REQUIRE(model_.published == model_.ended());
    REQUIRE(host_.stored.empty());
    REQUIRE(host_.count_records().empty());
    REQUIRE(host_.memory().used() == 0);
  }

  const LifeModel& model() const { return model_; }

 private:
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }

  Timestamp now() const { return host_.time; }

  // --- operations

  LifeModel::Life prepare(MessageRef& message) {
    LifeModel::Life life;
    life.number = static_cast<unsigned>(++model_.published);
    MessageParts parts;
    const unsigned priority = below(mode_.priorities + 2U);
    parts.priority = static_cast<std::uint8_t>(std::min(priority, 255U));
    life.level = std::min(parts.priority, mode_.priorities);
    life.persistent = parts.persistent = below(2) == 0;
    parts.ttl_ms = std::array<std::int64_t, 8>{-1, -1, -1, -1, 0, 5, 40, 1000}[below(8)];
    const std::string body =
        std::to_string(life.number) + std::string(1 + below(mode_.paging ? 1500 : 20), '.');
    life.bytes = static_cast<std::uint32_t>(body.size());
    life.born_at = now();
    std::optional<Milliseconds> ttl = model_.settings.message_ttl;
    if (parts.ttl_ms >= 0) {
      ttl = std::min(ttl.value_or(Milliseconds::max()), Milliseconds(parts.ttl_ms));
    }
    if (ttl) life.expires_at = now() + *ttl;
    message = Message::create(parts, body);
    return life;
  }

  void publish() {
    if (model_.may_refuse()) turns();
    MessageRef message;
    const LifeModel::Life life = prepare(message);
    const bool fits = !model_.may_refuse() || has_room(1, life.bytes);
    if (fits) {
      model_.add(life);
    } else {
      model_.refuse(life.number);
    }
    const Enqueued result = queue_.enqueue(std::move(message), now());
    REQUIRE((result == Enqueued::refused) == !fits);
    if (mode_.durable && life.persistent && fits) REQUIRE(result == Enqueued::stored);
    model_.expire(now());
    model_.drop_surplus();
  }

  void publish_many() {
    for (unsigned left = below(60); left > 0; --left)
      publish();
  }

  // Keeps room for some, meanwhile another publishes, then all or none come.
  void transaction() {
    if (model_.may_refuse()) turns();
    std::vector<std::pair<MessageRef, LifeModel::Life>> parts(1 + below(3));
    std::uint64_t bytes = 0;
    for (auto& [message, life] : parts) {
      life = prepare(message);
      bytes += life.bytes;
    }
    const bool fits = !model_.may_refuse() || has_room(parts.size(), bytes);
    REQUIRE(queue_.reserve(parts.size(), bytes) == fits);
    if (fits) {
      model_.reserved_count += parts.size();
      model_.reserved_bytes += bytes;
      if (below(2) == 0) publish();
    }
    const bool commits = fits && below(3) > 0;
    if (fits && !commits) queue_.release(parts.size(), bytes);
    if (fits && !commits) unreserve(parts.size(), bytes);
    for (auto& [message, life] : parts) {
      if (!commits) {  // as if it had never been published
        model_.end(End::refused);
        continue;
      }
      unreserve(1, life.bytes);
      model_.add(life);
      REQUIRE(queue_.enqueue(std::move(message), now(), Admission::reserved) != Enqueued::refused);
      model_.expire(now());
      model_.drop_surplus();
    }
  }

  void unreserve(std::size_t count, std::uint64_t bytes) {
    model_.reserved_count -= count;
    model_.reserved_bytes -= bytes;
  }

  void settle_some() {
    for (unsigned left = 1 + below(3); left > 0 && !model_.unacked.empty(); --left) {
      auto victim = model_.unacked.begin();
      std::advance(victim, below(static_cast<unsigned>(model_.unacked.size())));
      settle(victim->first,
             std::array{Settlement::ack, Settlement::ack, Settlement::ack, Settlement::requeue,
                        Settlement::requeue, Settlement::failed, Settlement::lost,
                        Settlement::unseen, Settlement::discard}[below(9)]);
    }
    pump();
  }

  void settle(Sequence id, Settlement how) {
    const int holder = model_.unacked.at(id).holder;
    if (holder >= 0) --consumers_[static_cast<std::size_t>(holder)]->unacked;
    model_.settled(id, how, now());
    queue_.settle(id, how);
  }

  void pump() {
    model_.expire(now());
    model_.drop_surplus();
    queue_.pump();
  }

  void get() {
    turns();
    const bool no_ack = below(2) == 0;
    bool answered = false;
    queue_.get(no_ack, [&](GetResult got) {
      REQUIRE(got);
      answered = true;
      if (*got) model_.taken((*got)->delivery, -1, no_ack, now());
      if (model_.exact) REQUIRE((got->has_value() || model_.ready.empty()));
      if (model_.exact && *got) REQUIRE((*got)->ready_left == model_.ready.size());
    });
    turns();
    REQUIRE(answered);
  }

  void open_or_shut() {
    if (consumers_.empty()) return;
    LifeConsumer& one = *consumers_[below(static_cast<unsigned>(consumers_.size()))];
    one.open = !one.open;
    if (!one.open || one.record == nullptr) return;
    model_.expire(now());
    model_.drop_surplus();
    queue_.resume(*one.record);
  }

  void subscribe() {
    std::size_t attached = 0;
    for (const auto& one : consumers_)
      attached += one->record != nullptr ? 1U : 0U;
    if (attached >= 4) return;
    // In the place of one that is gone and has nothing any more.
    auto place = std::find_if(consumers_.begin(), consumers_.end(), [](const auto& one) {
      return one->record == nullptr && one->unacked == 0;
    });
    if (place == consumers_.end()) place = consumers_.emplace(place);
    const int number = static_cast<int>(place - consumers_.begin());
    auto added = std::make_unique<LifeConsumer>();
    LifeConsumer& one = *added;
    one.options.no_ack = below(5) == 0;
    if (!one.options.no_ack) one.options.prefetch = below(6);
    one.on_deliver = [this, &one, number](const Delivery& delivery) {
      REQUIRE(one.able());
      if (!one.options.no_ack) ++one.unacked;
      model_.taken(delivery, number, one.options.no_ack, now());
    };
    *place = std::move(added);
    const auto record = queue_.consume(one, one.options);
    REQUIRE(record.has_value());
    one.record = *record;
    pump();
  }

  void cancel() {
    if (consumers_.empty()) return;
    LifeConsumer& one = *consumers_[below(static_cast<unsigned>(consumers_.size()))];
    if (one.record != nullptr) (void)queue_.cancel(*std::exchange(one.record, nullptr));
  }

  void let_time_pass() {
    const Timestamp until =
        now() + Milliseconds(std::array{1U, 1U + below(10), below(50), below(2000)}[below(4)]);
    while (const auto due = host_.take_wake_up(until)) {
      host_.time = std::max(host_.time, *due);
      queue_.tick(now());
      turns();
    }
    host_.time = until;
    model_.expire(now());
  }

  void bury() {
    for (unsigned left = 1 + below(4); left > 0 && !letters_.empty(); --left) {
      const std::size_t at = below(static_cast<unsigned>(letters_.size()));
      std::swap(letters_[at], letters_.back());
      bury_last();
    }
  }

  void bury_all() {
    while (!letters_.empty())
      bury_last();
  }

  void bury_last() {
    queue_.buried(letters_.back().seq);
    model_.unburied.erase(LifeModel::number_of(*letters_.back().message));
    letters_.pop_back();
  }

  // As policies that come and go.
  void change_settings() {
    QueueSettings& settings = model_.settings;
    settings = queue_.settings();
    settings.max_length.reset();
    settings.max_length_bytes.reset();
    settings.message_ttl.reset();
    settings.delivery_limit.reset();
    if (below(2) == 0) settings.max_length = below(4) == 0 ? below(3) : below(60);
    if (below(4) == 0) settings.max_length_bytes = below(mode_.paging ? 40'000 : 400);
    if (below(3) == 0) settings.message_ttl = Milliseconds(below(100));
    if (below(2) == 0) settings.delivery_limit = below(4);
    settings.overflow = std::array{Overflow::drop_head, Overflow::reject_publish,
                                   Overflow::reject_publish_dlx}[below(3)];
    settings.delivery_count_mode =
        std::array{DeliveryCountMode::returned, DeliveryCountMode::failed,
                   DeliveryCountMode::acquired}[below(3)];
    settings.dead_letter_exchange.reset();
    // What is on disk dies unseen without one.
    if (mode_.paging || (mode_.dead_letters && below(4) > 0)) settings.dead_letter_exchange = "dlx";
    queue_.apply(settings, now());
    model_.drop_surplus();
  }

  void purge() {
    if (below(2) == 0) publish_many();  // with deaths and pages under way
    const std::size_t expected = queue_.ready_count();
    REQUIRE(queue_.purge() == expected);
    model_.purge(expected);
  }

  // --- what the queue says

  void on_letter(const DeadLetter& letter) {
    const unsigned number = LifeModel::number_of(*letter.message);
    if (letter.seq == 0) {  // it was refused
      REQUIRE(model_.settings.overflow == Overflow::reject_publish_dlx);
      REQUIRE(model_.seen.emplace(number, letter.reason).second);
      return;
    }
    model_.letter(number, letter.reason, now());
    letters_.push_back(letter);
  }

  bool has_room(std::size_t count, std::uint64_t bytes) const {
    return model_.has_room(queue_.ready_count(), queue_.ready_bytes(), count, bytes);
  }

  // --- invariants

  void check() {
    queue_.check_invariants();
    REQUIRE(model_.seen == model_.foretold);
    model_.seen.clear();
    model_.foretold.clear();
    REQUIRE(queue_.unacked_count() == model_.unacked.size());
    REQUIRE(queue_.ready_count() <= model_.ready.size());
    REQUIRE(model_.published == model_.in_queue() + model_.ended());
    const QueueSettings& settings = model_.settings;
    if (settings.overflow == Overflow::drop_head && settings.max_length) {
      REQUIRE(queue_.ready_count() <= *settings.max_length);
    }
    if (model_.exact) check_counts();
    if (below(4) == 0) check_all();
  }

  void check_counts() {
    REQUIRE(queue_.ready_count() == model_.ready.size());
    REQUIRE(queue_.ready_bytes() == model_.ready_bytes());
    const QueueSettings& settings = model_.settings;
    if (settings.overflow == Overflow::drop_head && settings.max_length_bytes) {
      REQUIRE(queue_.ready_bytes() <= *settings.max_length_bytes);
    }
  }

  // Once the store has answered all that was asked.
  void check_all() {
    turns();
    check_counts();
    REQUIRE(model_.dying.empty());
    REQUIRE(model_.doomed.empty());
    model_.purged.clear();
    for (const auto& one : consumers_)
      REQUIRE_FALSE((one->able() && queue_.ready_count() > 0));
    if (!mode_.durable) return;
    std::set<unsigned> persistent;
    for (const auto& [place, entry] : host_.stored) {
      if (entry.message->persistent()) persistent.insert(LifeModel::number_of(*entry.message));
    }
    REQUIRE(persistent == model_.persistent());
  }

  void turns() { host_.turns(queue_); }

  const Mode& mode_;
  std::mt19937 random_;
  LifeModel model_;
  QueueRef handle_;
  LifeHost host_;
  std::vector<std::unique_ptr<LifeConsumer>> consumers_;
  std::vector<DeadLetter> letters_;  // not buried
  Queue queue_;
};

unsigned steps() {
  const char* wanted = std::getenv("HARRIER_STEPS");
  return wanted == nullptr ? 20'000 : static_cast<unsigned>(std::strtoul(wanted, nullptr, 10));
}

}  // namespace

TEST_SUITE("Queue: random lives") {
  TEST_CASE("every message is in one place, in order, and within the limits") {
    const unsigned seed = random_seed();
    for (unsigned round = 0; round < kModes.size(); ++round) {
      const Mode& mode = kModes[round];
      CAPTURE(seed);
      CAPTURE(std::string(mode.name));
      LifeRun run(seed + round, mode);
      for (unsigned step = 0; step < steps(); ++step) {
        CAPTURE(step);
        run.step();
      }
      run.drain();
      const auto& ends = run.model().ends;
      MESSAGE(std::string(mode.name), ": published ", run.model().published, ", acked ", ends[0],
              ", rejected ", ends[1], ", expired ", ends[2], ", over length ", ends[3],
              ", over delivery limit ", ends[4], ", purged ", ends[5], ", refused ", ends[6]);
    }
  }
}
