#include "broker/auth/internal_store.h"

#include <re2/re2.h>

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "broker/auth/password_hash.h"

namespace harrier {
namespace {

constexpr std::string_view kDefaultExchange = "amq.default";

bool matches(const std::unique_ptr<re2::RE2>& pattern, std::string_view name) {
  return pattern != nullptr &&
         re2::RE2::PartialMatch(re2::StringPiece(name.data(), name.size()), *pattern);
}

}  // namespace

Result<InternalStore::Pattern, std::string> InternalStore::compile(std::string_view text) {
  if (text.empty()) return Pattern();
  re2::RE2::Options options;
  options.set_encoding(re2::RE2::Options::EncodingLatin1);  // names are octets, not always UTF-8
  options.set_log_errors(false);
  auto pattern = std::make_unique<re2::RE2>(re2::StringPiece(text.data(), text.size()), options);
  if (!pattern->ok())
    return fail(fmt::format("'{}' is no valid pattern: {}", text, pattern->error()));
  return pattern;
}

Result<InternalStore::Grant, std::string> InternalStore::make_grant(
    const StoredPermissions& permissions) {
  const PermissionPatterns& texts = permissions.patterns;
  Result<Pattern, std::string> configure = compile(texts.configure);
  Result<Pattern, std::string> write = compile(texts.write);
  Result<Pattern, std::string> read = compile(texts.read);
  for (const auto* pattern : {&configure, &write, &read}) {
    if (*pattern) continue;
    return fail(fmt::format("permissions of user '{}' in vhost '{}': {}", permissions.user,
                            permissions.vhost, pattern->error()));
  }
  return Grant{permissions.vhost, std::move(*configure), std::move(*write), std::move(*read)};
}

InternalStore::InternalStore(const AuthConfig& config, std::uint64_t revision)
    : unknown_user_hash_(hash_password("nobody")),
      loopback_users_(config.loopback_users),
      anonymous_user_(config.anonymous_login_user),
      anonymous_pass_(config.anonymous_login_pass),
      revision_(revision) {}

InternalStore::~InternalStore() = default;

Result<std::unique_ptr<InternalStore>, std::string> InternalStore::from_config(
    const AuthConfig& config) {
  const StoredUser user{config.default_user, hash_password(config.default_pass),
                        config.default_user_tags};
  const StoredPermissions permissions{config.default_user, config.default_vhost,
                                      config.default_permissions};
  return make({user}, {permissions}, config, 1);
}

Result<std::unique_ptr<InternalStore>, std::string> InternalStore::make(
    const std::vector<StoredUser>& users, const std::vector<StoredPermissions>& permissions,
    const AuthConfig& config, std::uint64_t revision) {
  std::unique_ptr<InternalStore> store(new InternalStore(config, revision));
  for (const StoredUser& user : users) {
    Record& record = store->users_[user.name];
    record.user = std::make_shared<const User>(User{user.name, user.tags});
    record.password_hash = user.password_hash;
  }
  for (const StoredPermissions& row : permissions) {
    const auto owner = store->users_.find(row.user);
    if (owner == store->users_.end()) {
      return fail(fmt::format("there is no user '{}' to have permissions in vhost '{}'", row.user,
                              row.vhost));
    }
    Result<Grant, std::string> grant = make_grant(row);
    if (!grant) return fail(grant.error());
    owner->second.grants.push_back(std::move(*grant));
  }
  return store;
}

AuthenticationResult InternalStore::authenticate(std::string_view user, std::string_view password,
                                                 PeerInfo peer) const {
  const auto refuse = [](const char* why) { return fail(AuthenticationFailure{why}); };
  const auto found = users_.find(user);
  const bool known = found != users_.end();
  const bool right =
      password_matches(password, known ? found->second.password_hash : unknown_user_hash_);
  if (!known) return refuse("no such user");
  if (password.empty()) return refuse("empty password");
  if (!right) return refuse("wrong password");
  const bool loopback_only =
      std::find(loopback_users_.begin(), loopback_users_.end(), user) != loopback_users_.end();
  if (loopback_only && !peer.loopback) return refuse("may log in from this machine only");
  return found->second.user;
}

AuthenticationResult InternalStore::authenticate_anonymous(PeerInfo peer) const {
  if (anonymous_user_.empty()) {
    return fail(AuthenticationFailure{"anonymous log-in is switched off"});
  }
  return authenticate(anonymous_user_, anonymous_pass_, peer);
}

bool InternalStore::may_access_vhost(const User& user, std::string_view vhost) const {
  return find_grant(user, vhost) != nullptr;
}

bool InternalStore::permits(const User& user, std::string_view vhost, Permission permission,
                            std::string_view resource) const {
  const Grant* grant = find_grant(user, vhost);
  if (grant == nullptr) return false;
  const std::string_view name = resource.empty() ? kDefaultExchange : resource;
  switch (permission) {
    case Permission::configure:
      return matches(grant->configure, name);
    case Permission::write:
      return matches(grant->write, name);
    case Permission::read:
      return matches(grant->read, name);
  }
  return false;
}

const InternalStore::Grant* InternalStore::find_grant(const User& user,
                                                      std::string_view vhost) const {
  const auto found = users_.find(user.name);
  if (found == users_.end()) return nullptr;
  for (const Grant& grant : found->second.grants) {
    if (grant.vhost == vhost) return &grant;
  }
  return nullptr;
}

}  // namespace harrier
