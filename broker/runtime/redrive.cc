#include "broker/runtime/redrive.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "base/join.h"
#include "base/log.h"
#include "broker/core/death.h"
#include "broker/core/errors.h"
#include "broker/core/queue.h"
#include "broker/core/resource_names.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/handover.h"
#include "broker/runtime/recent_messages.h"
#include "broker/runtime/shard.h"
#include "protocol/properties.h"

namespace harrier {
namespace {

constexpr Logger kLog("redrive");

// Of one batch.
constexpr std::size_t kMessagesMax = 200;
constexpr std::size_t kPageBytesMax = std::size_t{256} << 10;
// No further message once it has so many octets of bodies.
constexpr std::uint64_t kBatchBytes = std::uint64_t{256} << 10;
// Read for each message that a slow job may move.
constexpr std::size_t kPageBytesEach = 1024;
// Jobs that are over and still told of.
constexpr std::size_t kJobsKept = 32;
// A job with a rate does not wake more often.
constexpr Milliseconds kPause{20};

using State = RedriveStatus::State;

// What a batch brings to one queue.
struct Room {
  QueueRef queue;
  std::vector<MessageRef> messages;  // as they are now, with the deaths they had
  std::uint64_t bytes = 0;
  bool kept = false;
};

Room& room_of(std::vector<Room>& rooms, const QueueRef& queue) {
  const auto known = std::ranges::find_if(
      rooms, [&queue](const Room& room) { return room.queue.get() == queue.get(); });
  if (known != rooms.end()) return *known;
  rooms.push_back({queue, {}, 0, false});
  return rooms.back();
}

bool keep_room(Queue* home, const std::vector<MessageRef>& messages, std::uint64_t bytes) {
  if (home == nullptr || home->closed() || !home->reserve(messages.size(), bytes)) return false;
  if (home->reserve_keys(messages, Duplicates::kept)) return true;
  home->release(messages.size(), bytes);
  return false;
}

void give_up(Shard& here, const QueueHandle& queue, std::vector<MessageRef> messages,
             std::uint64_t bytes) {
  ask_home(
      here, queue,
      [messages = std::move(messages), bytes](Shard&, Queue* home) {
        if (home == nullptr) return true;
        home->release(messages.size(), bytes);
        home->release_keys(messages, Duplicates::kept);
        return true;
      },
      [](bool) {});
}

bool is_known(const VirtualHost& vhost, const RedriveTarget& target, std::string& why) {
  if (target.kind == RedriveTarget::Kind::queue && vhost.find_queue(target.name) == nullptr) {
    why = no_queue(target.name, vhost.name()).text;
  } else if (target.kind == RedriveTarget::Kind::exchange &&
             vhost.find_exchange(target.name) == nullptr) {
    why = no_exchange(target.name, vhost.name()).text;
  }
  return why.empty();
}

}  // namespace

std::string_view redrive_state_name(State state) {
  switch (state) {
    case State::running:
      return "running";
    case State::done:
      return "done";
    case State::cancelled:
      return "cancelled";
    case State::failed:
      return "failed";
  }
  return "";
}

struct Redrives::Candidate {
  Sequence id = 0;
  MessageRef message;
};

struct Redrives::Move {
  Candidate from;
  MessageRef copy;
  std::vector<QueueRef> queues;
};

struct Redrives::Job {
  RedriveRequest request;
  RedriveStatus status;
  Done when_done;
  QueueId queue{};
  std::vector<std::pair<Sequence, Sequence>> ranges;  // to be looked at, the next one last
  Sequence cursor = 0;                                // in it
  std::deque<Move> alone;                             // of a batch that was refused as a whole
  double allowed = 1;                                 // messages that the rate lets go now
  Timestamp counted{};                                // up to when
  std::optional<Timestamp> wakes_at;

  bool is_running() const { return status.state == State::running; }

  std::uint64_t left() const {
    if (!request.limit) return UINT64_MAX;
    const std::uint64_t used = request.dry_run ? status.matched : status.moved;
    return *request.limit - std::min(*request.limit, used);
  }
};

struct Redrives::Batch {
  JobRef job;
  std::vector<Move> moves;
  std::vector<Room> rooms;
};

Redrives::~Redrives() = default;

Result<RedriveStatus, std::string> Redrives::start(Queue& queue, RedriveRequest request,
                                                   Done when_done) {
  for (const JobRef& other : jobs_) {
    if (other->is_running() && other->queue == queue.handle().id()) {
      return fail(fmt::format("job {} redrives {} already: wait for it, or cancel it",
                              other->status.job, queue_text(request.queue, request.vhost)));
    }
  }
  const auto job = std::make_shared<Job>();
  job->status.job = shard_.broker().next_job();
  job->status.vhost = request.vhost;
  job->status.queue = request.queue;
  job->status.dry_run = request.dry_run;
  job->queue = queue.handle().id();
  job->ranges = queue.ranges();
  std::ranges::reverse(job->ranges);
  job->cursor = job->ranges.back().first;
  job->counted = shard_.now();
  job->request = std::move(request);
  job->when_done = std::move(when_done);
  jobs_.push_back(job);
  if (jobs_.size() > kJobsKept) {
    const auto over =
        std::ranges::find_if(jobs_, [](const JobRef& one) { return !one->is_running(); });
    if (over != jobs_.end()) jobs_.erase(over);
  }
  kLog.info("job {} redrives {}{}", job->status.job,
            queue_text(job->status.queue, job->status.vhost), job->request.dry_run ? ", dry" : "");
  go_on(job);
  return job->status;
}

bool Redrives::cancel(std::uint64_t number) {
  for (const JobRef& job : jobs_) {
    if (job->status.job != number || !job->is_running()) continue;
    end(job, State::cancelled);
    return true;
  }
  return false;
}

std::vector<RedriveStatus> Redrives::status() const {
  std::vector<RedriveStatus> all;
  for (const JobRef& job : jobs_)
    all.push_back(job->status);
  return all;
}

std::optional<Timestamp> Redrives::next_deadline() const {
  std::optional<Timestamp> next;
  for (const JobRef& job : jobs_) {
    if (job->wakes_at && (!next || *job->wakes_at < *next)) next = job->wakes_at;
  }
  return next;
}

void Redrives::run_timers() {
  for (const JobRef& job : std::deque<JobRef>(jobs_)) {
    if (!job->wakes_at || *job->wakes_at > shard_.now()) continue;
    job->wakes_at.reset();
    step(job);
  }
}

void Redrives::end(const JobRef& job, State state, std::string error) {
  if (!job->is_running()) return;
  job->status.state = state;
  job->status.error = std::move(error);
  job->wakes_at.reset();
  const RedriveStatus& now = job->status;
  kLog.info("job {} is {}: {} of {} messages moved{}{}", now.job, redrive_state_name(state),
            now.moved, now.matched, now.error.empty() ? "" : ": ", now.error);
  if (job->when_done) std::exchange(job->when_done, Done())(job->status);
}

// In a turn of its own: others come in between.
void Redrives::go_on(const JobRef& job) {
  shard_.later([this, job] { next_batch(job); });
}

void Redrives::next_batch(const JobRef& job) {
  if (job->alone.empty() || !job->is_running()) return step(job);
  const auto batch = std::make_shared<Batch>();
  batch->job = job;
  batch->moves.push_back(std::move(job->alone.front()));
  job->alone.pop_front();
  ask_for_room(batch);
}

void Redrives::step(const JobRef& job) {
  if (!job->is_running()) return;
  Queue* const queue = shard_.find_queue(job->queue);
  if (queue == nullptr || queue->closed()) {
    return end(job, State::failed, no_queue(job->status.queue, job->status.vhost).text);
  }
  if (queue->is_stopping()) return end(job, State::cancelled);
  while (!job->ranges.empty() && job->cursor >= job->ranges.back().second) {
    job->ranges.pop_back();
    if (!job->ranges.empty()) job->cursor = job->ranges.back().first;
  }
  if (job->ranges.empty() || job->left() == 0) return end(job, State::done);
  const std::size_t count = allowance(*job);
  if (count == 0) return;
  LevelLook look = queue->look(job->cursor, job->ranges.back().second, count);
  job->cursor = look.next;
  if (look.seen.empty() && look.on_disk) {
    return read_from_store(job, *queue, look.disk_end, count);
  }
  std::vector<Candidate> candidates;
  for (LevelLook::Seen& seen : look.seen)
    candidates.push_back({seen.seq, std::move(seen.message)});
  examine(job, candidates);
}

// How many messages may be looked at now; none: the job is woken.
std::size_t Redrives::allowance(Job& job) {
  if (!job.request.rate) return kMessagesMax;
  const double rate = *job.request.rate;
  const double seconds = std::chrono::duration<double>(shard_.now() - job.counted).count();
  job.counted = shard_.now();
  job.allowed = std::min(job.allowed + std::max(seconds, 0.0) * rate, std::max(1.0, rate / 10));
  if (job.allowed >= 1) {
    return static_cast<std::size_t>(std::min(static_cast<double>(kMessagesMax), job.allowed));
  }
  const Milliseconds wait(static_cast<std::int64_t>(std::ceil((1 - job.allowed) / rate * 1000)));
  job.wakes_at = shard_.now() + std::max(wait, kPause);
  return 0;
}

void Redrives::read_from_store(const JobRef& job, Queue& queue, Sequence until, std::size_t count) {
  const auto lane = queue.lane_of(job->cursor);
  if (!lane) return end(job, State::done);
  PageRequest request;
  request.lane = *lane;
  request.from = Level::sequence_in(job->cursor);
  request.end = Level::sequence_in(until);
  request.bytes_max = std::min(kPageBytesMax, count * kPageBytesEach);
  shard_.read_page(request, [this, job, count](LanePage&& page) {
    Queue* const home = shard_.find_queue(job->queue);
    if (home == nullptr || !job->is_running()) return step(job);
    if (page.entries.empty() && page.damage) {
      return end(job, State::failed, std::move(page.damage->detail));
    }
    const std::uint8_t level = Level::number_in(job->cursor);
    std::vector<Candidate> candidates;
    job->cursor = Level::id_of(level, page.next);
    for (StoredEntry& entry : page.entries) {
      const Sequence id = Level::id_of(level, entry.seq);
      if (!home->has_ready(id)) continue;
      if (candidates.size() == count) {
        job->cursor = id;
        break;
      }
      candidates.push_back({id, std::move(entry.message)});
    }
    examine(job, candidates);
  });
}

void Redrives::examine(const JobRef& job, const std::vector<Candidate>& candidates) {
  const auto batch = std::make_shared<Batch>();
  batch->job = job;
  const std::uint64_t left = job->left();
  std::uint64_t chosen = 0;
  std::uint64_t bytes = 0;  // of bodies of the batch
  for (const Candidate& candidate : candidates) {
    if (chosen == left || bytes >= kBatchBytes) {
      job->cursor = candidate.id;
      break;
    }
    ++job->status.examined;
    if (!matches(job->request.filter, *candidate.message)) continue;
    ++job->status.matched;
    std::optional<Move> move = plan(*job, candidate);
    if (!move) ++job->status.unroutable;
    if (move || job->request.dry_run) ++chosen;
    if (!move || job->request.dry_run) continue;
    bytes += move->copy->body().size();
    batch->moves.push_back(std::move(*move));
  }
  if (job->request.rate) job->allowed -= static_cast<double>(batch->moves.size());
  if (batch->moves.empty()) return go_on(job);
  ask_for_room(batch);
}

// Nothing when it has no destination.
std::optional<Redrives::Move> Redrives::plan(Job& job, const Candidate& candidate) {
  VirtualHost* const vhost = shard_.find_vhost(job.status.vhost);
  if (vhost == nullptr) return std::nullopt;
  const RedriveTarget& target = job.request.target;
  const History history = job.request.history;
  Move move;
  move.from = candidate;
  if (target.kind == RedriveTarget::Kind::exchange) {
    Exchange* const exchange = vhost->find_exchange(target.name);
    if (exchange == nullptr) return std::nullopt;
    move.copy = redriven_copy(
        *candidate.message, target.name,
        target.routing_key.value_or(std::string(candidate.message->routing_key())), history);
    const auto properties = parse_properties(move.copy->properties());
    const std::vector<std::string_view> keys{move.copy->routing_key()};
    std::vector<QueueHandle*> queues;
    const RouteOutcome outcome =
        vhost->route(*exchange, {keys, *properties->headers, &*properties}, queues);
    if (!job.request.dry_run) keep_recent(shard_, *vhost, outcome, move.copy);
    for (QueueHandle* queue : queues)
      move.queues.emplace_back(queue);
  } else {
    std::vector<std::string> names{target.name};
    if (target.kind == RedriveTarget::Kind::origin) {
      const auto deaths = deaths_of(*candidate.message);
      names = deaths ? std::vector{deaths->first_queue, deaths->last_queue}
                     : std::vector<std::string>();
    }
    for (const std::string& name : names) {
      QueueHandle* const queue = vhost->find_queue(name);
      if (queue == nullptr || queue->id() == job.queue || !move.queues.empty()) continue;
      move.queues.emplace_back(queue);
      move.copy = redriven_copy(*candidate.message, "", name, history);
    }
  }
  if (move.queues.empty()) return std::nullopt;
  return move;
}

// Every queue is asked first, so that a message that one would refuse stays.
void Redrives::ask_for_room(const BatchRef& batch) {
  for (const Move& move : batch->moves) {
    for (const QueueRef& queue : move.queues) {
      Room& room = room_of(batch->rooms, queue);
      room.messages.push_back(move.from.message);
      room.bytes += move.copy->body().size();
    }
  }
  Join asked([this, batch] {
    if (std::ranges::all_of(batch->rooms, [](const Room& room) { return room.kept; })) {
      place(batch);
    } else {
      refused(batch);
    }
  });
  for (Room& room : batch->rooms) {
    ask_home(
        shard_, *room.queue,
        [messages = room.messages, bytes = room.bytes](Shard&, Queue* home) {
          return keep_room(home, messages, bytes);
        },
        [batch, &room, share = asked.share()](bool kept) mutable {
          room.kept = kept;
          share();
        });
  }
}

void Redrives::refused(const BatchRef& batch) {
  for (const Room& room : batch->rooms) {
    if (room.kept) give_up(shard_, *room.queue, room.messages, room.bytes);
  }
  const JobRef& job = batch->job;
  if (batch->moves.size() == 1) {
    ++job->status.refused;
  } else {
    std::ranges::move(batch->moves, std::back_inserter(job->alone));
  }
  go_on(job);
}

void Redrives::give_up_room(const Move& move) {
  for (const QueueRef& queue : move.queues)
    give_up(shard_, *queue, {move.from.message}, move.copy->body().size());
}

void Redrives::place(const BatchRef& batch) {
  if (shard_.groups_are_held()) {
    return shard_.when_groups_flow([this, batch] { place(batch); });
  }
  const JobRef& job = batch->job;
  Queue* const queue = shard_.find_queue(job->queue);
  std::uint64_t durable_on = 0;
  for (const Move& move : batch->moves) {
    const bool may_go =
        queue != nullptr && job->is_running() &&
        std::ranges::none_of(move.queues, [](const QueueRef& target) { return target->deleted(); });
    if (!may_go || !queue->withdraw(move.from.id, *move.from.message)) {
      give_up_room(move);
      continue;
    }
    ++job->status.moved;
    durable_on |= put(move);
    if (queue->definition().durable) durable_on |= std::uint64_t{1} << shard_.index();
  }
  if (queue != nullptr) queue->pump();
  shard_.make_atomic(durable_on);
  if (shard_.batch().empty()) return go_on(job);
  shard_.when_durable(shard_.turn_ticket(), [this, job] { next_batch(job); });
}

// Returns a bit per shard whose store has a part in it.
std::uint64_t Redrives::put(const Move& move) {
  std::uint64_t durable_on = 0;
  for (const QueueRef& queue : move.queues) {
    if (move.copy->persistent() && queue->definition().durable) {
      durable_on |= std::uint64_t{1} << queue->home();
    }
    const Admission admission = died_in(*move.from.message, queue->definition().name)
                                    ? Admission::returned
                                    : Admission::reserved;
    ask_home(
        shard_, *queue,
        [message = move.copy, admission](Shard& there, Queue* home) {
          if (home != nullptr) home->enqueue(message, there.now(), admission);
          return true;
        },
        [](bool) {});
  }
  return durable_on;
}

void start_redrive(Shard& from, RedriveRequest request, RedriveAnswer answer, RedriveReply reply) {
  const VirtualHost* const vhost = from.find_vhost(request.vhost);
  if (vhost == nullptr) {
    return reply(fail(fmt::format("virtual host '{}' does not exist", request.vhost)));
  }
  const QueueHandle* const queue = vhost->find_queue(request.queue);
  if (queue == nullptr) return reply(fail(no_queue(request.queue, request.vhost).text));
  if (request.target.kind == RedriveTarget::Kind::queue && request.target.name == request.queue) {
    return reply(fail(std::string("a queue cannot be redriven to itself")));
  }
  std::string why;
  if (!is_known(*vhost, request.target, why)) return reply(fail(std::move(why)));
  ask_home_later<Result<RedriveStatus, std::string>>(
      from, *queue,
      [&broker = from.broker(), home = queue->home(), request = std::move(request), answer](
          Queue* there, UniqueFunction<void(Result<RedriveStatus, std::string>)> done) mutable {
        if (there == nullptr) return done(fail(no_queue(request.queue, request.vhost).text));
        Redrives& redrives = broker.shard(home).redrives();
        if (answer == RedriveAnswer::when_started) {
          return done(redrives.start(*there, std::move(request), {}));
        }
        const auto told = std::make_shared<decltype(done)>(std::move(done));
        const auto started = redrives.start(
            *there, std::move(request), [told](const RedriveStatus& status) { (*told)(status); });
        if (!started) (*told)(fail(started.error()));
      },
      std::move(reply));
}

namespace {

// Runs `ask(Redrives&)` on every shard, then `done` with the answers in the order of the shards.
template <class Answer, class Ask>
void ask_all(Shard& from, Ask ask, UniqueFunction<void(std::vector<Answer>)> done) {
  const ShardIndex shards = from.broker().shard_count();
  const auto answers = std::make_shared<std::vector<Answer>>(shards);
  Join asked([answers, done = std::move(done)]() mutable { done(std::move(*answers)); });
  for (ShardIndex index = 0; index < shards; ++index) {
    from.send(index, [&from, &there = from.broker().shard(index), index, ask, answers,
                      share = asked.share()]() mutable {
      there.send(from.index(), [answer = ask(there.redrives()), index, answers = std::move(answers),
                                share = std::move(share)]() mutable {
        (*answers)[index] = std::move(answer);
        share();
      });
    });
  }
}

}  // namespace

void cancel_redrive(Shard& from, std::uint64_t job, UniqueFunction<void(bool)> reply) {
  // Not bool: the elements of such a vector are no objects.
  ask_all<int>(
      from, [job](Redrives& redrives) { return redrives.cancel(job) ? 1 : 0; },
      [reply = std::move(reply)](const std::vector<int>& found) mutable {
        reply(std::ranges::find(found, 1) != found.end());
      });
}

void list_redrives(Shard& from, UniqueFunction<void(std::vector<RedriveStatus>)> reply) {
  ask_all<std::vector<RedriveStatus>>(
      from, [](const Redrives& redrives) { return redrives.status(); },
      [reply = std::move(reply)](std::vector<std::vector<RedriveStatus>> found) mutable {
        std::vector<RedriveStatus> all;
        for (std::vector<RedriveStatus>& of_shard : found)
          std::ranges::move(of_shard, std::back_inserter(all));
        std::ranges::sort(all, {}, &RedriveStatus::job);
        reply(std::move(all));
      });
}

}  // namespace harrier
