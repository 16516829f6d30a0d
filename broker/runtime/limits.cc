#include "broker/runtime/limits.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/core.h>

#include "base/assert.h"
#include "broker/core/resource_names.h"
#include "protocol/erlang_term.h"

namespace harrier {
namespace {

constexpr std::string_view kMaxConnections = "max-connections";
constexpr std::string_view kMaxQueues = "max-queues";
constexpr std::string_view kMaxChannels = "max-channels";

auto not_allowed(std::string text) {
  return fail(ProtocolError{ReplyCode::not_allowed, std::move(text)});
}

bool is_reached(std::optional<std::int64_t> limit, const Usage& usage) {
  return limit && usage.connections.load(std::memory_order_relaxed) >= *limit;
}

}  // namespace

ConnectionPermit::ConnectionPermit(std::shared_ptr<Usage> vhost, std::shared_ptr<Usage> user)
    : vhost_(std::move(vhost)), user_(std::move(user)) {
  vhost_->connections.fetch_add(1, std::memory_order_relaxed);
  user_->connections.fetch_add(1, std::memory_order_relaxed);
}

ConnectionPermit::~ConnectionPermit() {
  if (user_ == nullptr) return;
  vhost_->connections.fetch_sub(1, std::memory_order_relaxed);
  user_->connections.fetch_sub(1, std::memory_order_relaxed);
  user_->channels.fetch_sub(channels_, std::memory_order_relaxed);
}

ConnectionPermit::ConnectionPermit(ConnectionPermit&& other) noexcept
    : vhost_(std::move(other.vhost_)),
      user_(std::move(other.user_)),
      channels_(std::exchange(other.channels_, 0)) {}

ConnectionPermit& ConnectionPermit::operator=(ConnectionPermit&& other) noexcept {
  std::swap(vhost_, other.vhost_);
  std::swap(user_, other.user_);
  std::swap(channels_, other.channels_);
  return *this;
}

std::optional<std::int64_t> ConnectionPermit::open_channel() {
  if (user_ == nullptr) return std::nullopt;
  const std::int64_t max = user_->channels_max.load(std::memory_order_relaxed);
  const std::int64_t before = user_->channels.fetch_add(1, std::memory_order_relaxed);
  if (max >= 0 && before >= max) {
    user_->channels.fetch_sub(1, std::memory_order_relaxed);
    return max;
  }
  ++channels_;
  return std::nullopt;
}

void ConnectionPermit::close_channel() {
  if (user_ == nullptr) return;
  HARRIER_CHECK(channels_ > 0);
  --channels_;
  user_->channels.fetch_sub(1, std::memory_order_relaxed);
}

Result<void, ProtocolError> Limits::validate(const LimitDefinition& limit) {
  const bool of_vhost = limit.scope == LimitScope::vhost;
  const std::array<std::string_view, 2> known = {kMaxConnections,
                                                 of_vhost ? kMaxQueues : kMaxChannels};
  if (std::ranges::find(known, limit.name) != known.end()) return {};
  return fail(
      ProtocolError{ReplyCode::precondition_failed,
                    fmt::format("Unrecognised terms [{{{},{}}}] in {}", erlang_binary(limit.name),
                                limit.value, of_vhost ? "limits" : "user-limits")});
}

void Limits::set(const LimitDefinition& limit) {
  limits_[{limit.scope, limit.subject}].insert_or_assign(limit.name, limit.value);
  if (limit.scope == LimitScope::user) tell_permits(limit.subject);
}

bool Limits::clear(const LimitDefinition& limit) {
  const auto found = limits_.find({limit.scope, limit.subject});
  if (found == limits_.end() || found->second.erase(limit.name) == 0) return false;
  if (found->second.empty()) limits_.erase(found);
  if (limit.scope == LimitScope::user) tell_permits(limit.subject);
  return true;
}

void Limits::each(const std::function<void(const LimitDefinition&)>& visit) const {
  for (const auto& [owner, limits] : limits_) {
    for (const auto& [name, value] : limits)
      visit({owner.first, owner.second, name, value});
  }
}

Result<ConnectionPermit, ProtocolError> Limits::admit(const std::string& vhost,
                                                      const std::string& user) {
  const auto of_vhost = usage_of(LimitScope::vhost, vhost);
  const auto of_user = usage_of(LimitScope::user, user);
  const auto vhost_max = find(LimitScope::vhost, vhost, kMaxConnections);
  if (is_reached(vhost_max, *of_vhost)) {
    return not_allowed(
        fmt::format("access to vhost '{}' refused for user '{}': connection limit ({}) is reached",
                    vhost, user, *vhost_max));
  }
  const auto user_max = find(LimitScope::user, user, kMaxConnections);
  if (is_reached(user_max, *of_user)) {
    return not_allowed(
        fmt::format("connection refused for user '{}': user connection limit ({}) is reached", user,
                    *user_max));
  }
  return ConnectionPermit(of_vhost, of_user);
}

Result<void, ProtocolError> Limits::check_queues(const std::string& vhost, std::string_view queue,
                                                 std::size_t present, std::size_t more) const {
  const auto max = find(LimitScope::vhost, vhost, kMaxQueues);
  if (!max || present + more <= static_cast<std::uint64_t>(*max)) return {};
  return fail(ProtocolError{
      ReplyCode::precondition_failed,
      fmt::format("cannot declare queue '{}': queue limit in vhost '{}' ({}) is reached", queue,
                  vhost, *max)});
}

std::optional<std::int64_t> Limits::find(LimitScope scope, const std::string& subject,
                                         std::string_view name) const {
  const auto limits = limits_.find({scope, subject});
  if (limits == limits_.end()) return std::nullopt;
  const auto found = limits->second.find(name);
  if (found == limits->second.end() || found->second < 0) return std::nullopt;
  return found->second;
}

std::shared_ptr<Usage> Limits::usage_of(LimitScope scope, const std::string& subject) {
  auto& usage = (scope == LimitScope::vhost ? vhosts_ : users_)[subject];
  if (usage == nullptr) {
    usage = std::make_shared<Usage>();
    if (scope == LimitScope::user) tell_permits(subject);
  }
  return usage;
}

void Limits::tell_permits(const std::string& user) {
  const auto found = users_.find(user);
  if (found == users_.end()) return;  // nobody connected yet
  const std::int64_t max = find(LimitScope::user, user, kMaxChannels).value_or(-1);
  found->second->channels_max.store(max, std::memory_order_relaxed);
}

}  // namespace harrier
