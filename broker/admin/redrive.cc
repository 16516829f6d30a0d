// redrive: moves the messages of a queue back to where they came from, or elsewhere.

#include "broker/runtime/redrive.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "broker/admin/admin_commands.h"
#include "broker/runtime/broker.h"

namespace harrier {
namespace {

using Json = nlohmann::ordered_json;

template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_on(const AdminRequest& request, std::string_view name) {
  return request.argument(name) == "true";
}

Json json_of(const RedriveStatus& status) {
  Json json{{"job", status.job},
            {"vhost", status.vhost},
            {"queue", status.queue},
            {"state", redrive_state_name(status.state)},
            {"dry-run", status.dry_run},
            {"examined", status.examined},
            {"matched", status.matched},
            {"moved", status.moved},
            {"unroutable", status.unroutable},
            {"refused", status.refused}};
  if (!status.error.empty()) json["error"] = status.error;
  return json;
}

AdminReply rows_of(const std::vector<RedriveStatus>& all) {
  Json rows = Json::array();
  for (const RedriveStatus& status : all)
    rows.push_back(json_of(status));
  return AdminFields{
      {"rows", AdminJson{rows.dump(-1, ' ', false, Json::error_handler_t::replace)}}};
}

void reply(AdminDone& done, AdminReply answer) {
  done([answer = std::move(answer)] { return answer; });
}

// "origin", "queue:NAME", "exchange:NAME".
std::optional<RedriveTarget> target_of(const AdminRequest& request) {
  std::string_view to = request.argument("to");
  RedriveTarget target;
  if (to.empty() || to == "origin") return target;
  if (to.starts_with("queue:")) {
    target.kind = RedriveTarget::Kind::queue;
  } else if (to.starts_with("exchange:")) {
    target.kind = RedriveTarget::Kind::exchange;
  } else {
    return std::nullopt;
  }
  target.name = to.substr(to.find(':') + 1);
  if (request.arguments.contains("routing-key")) {
    target.routing_key = std::string(request.argument("routing-key"));
  }
  return target;
}

// Lines of "reason=WHY", "queue=NAME" and "header.NAME=VALUE".
std::optional<RedriveFilter> filter_of(std::string_view text) {
  RedriveFilter filter;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view name = line.substr(0, equals);
    const std::string value(line.substr(equals + 1));
    if (name == "reason") {
      filter.reason = value;
    } else if (name == "queue") {
      filter.queue = value;
    } else if (name.starts_with("header.")) {
      filter.headers.emplace_back(name.substr(name.find('.') + 1), value);
    } else {
      return std::nullopt;
    }
  }
  return filter;
}

Result<RedriveRequest, std::string> request_of(const AdminRequest& request) {
  RedriveRequest wanted;
  wanted.vhost = request.argument("vhost").empty() ? "/" : std::string(request.argument("vhost"));
  wanted.queue = request.argument("queue");
  if (wanted.queue.empty()) return fail(std::string("redrive needs a queue"));
  const auto target = target_of(request);
  if (!target) return fail(std::string("to is origin, queue:NAME or exchange:NAME"));
  wanted.target = *target;
  auto filter = filter_of(request.argument("filter"));
  if (!filter) {
    return fail(std::string("a filter is reason=WHY, queue=NAME or header.NAME=VALUE"));
  }
  wanted.filter = std::move(*filter);
  if (const std::string_view text = request.argument("rate"); !text.empty()) {
    wanted.rate = number_of<double>(text);
    if (!wanted.rate || !std::isfinite(*wanted.rate) || *wanted.rate < 0.001) {
      return fail(std::string("rate is a number of messages in a second, at least 0.001"));
    }
  }
  if (const std::string_view text = request.argument("limit"); !text.empty()) {
    wanted.limit = number_of<std::uint64_t>(text);
    if (!wanted.limit) return fail(std::string("limit is a number of messages"));
  }
  wanted.dry_run = is_on(request, "dry-run");
  wanted.history = is_on(request, "reset-count") ? History::reset : History::keep;
  return wanted;
}

// In a turn of shard 0.
void on_shard(const AdminContext& context, UniqueFunction<void(Shard&)> task) {
  Shard& shard = context.broker.shard(0);
  shard.post([&shard, task = std::move(task)]() mutable { task(shard); });
}

void cancel(const AdminContext& context, std::string_view text, AdminDone done) {
  const auto job = number_of<std::uint64_t>(text);
  if (!job) return reply(done, fail(fmt::format("'{}' is no number of a job", text)));
  on_shard(context, [job = *job, done = std::move(done)](Shard& shard) mutable {
    cancel_redrive(shard, job, [job, done = std::move(done)](bool cancelled) mutable {
      if (cancelled) return reply(done, AdminFields{});
      reply(done, fail(fmt::format("no job {} runs", job)));
    });
  });
}

}  // namespace

// A row of admin_commands.cc.
void run_redrive(const AdminContext& context, const AdminRequest& request, AdminDone done) {
  if (const std::string_view job = request.argument("cancel"); !job.empty()) {
    return cancel(context, job, std::move(done));
  }
  if (is_on(request, "status")) {
    return on_shard(context, [done = std::move(done)](Shard& shard) mutable {
      list_redrives(shard, [done = std::move(done)](const std::vector<RedriveStatus>& all) mutable {
        reply(done, rows_of(all));
      });
    });
  }
  auto wanted = request_of(request);
  if (!wanted) return reply(done, fail(wanted.error()));
  const RedriveAnswer answer =
      is_on(request, "wait") ? RedriveAnswer::when_done : RedriveAnswer::when_started;
  on_shard(
      context, [wanted = std::move(*wanted), answer, done = std::move(done)](Shard& shard) mutable {
        start_redrive(shard, std::move(wanted), answer,
                      [done = std::move(done)](Result<RedriveStatus, std::string> result) mutable {
                        if (!result) return reply(done, fail(result.error()));
                        if (result->state == RedriveStatus::State::failed) {
                          return reply(done, fail(result->error));
                        }
                        reply(done, rows_of({*result}));
                      });
      });
}

}  // namespace harrier
