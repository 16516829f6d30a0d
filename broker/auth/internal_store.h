#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "broker/auth/access.h"
#include "broker/auth/auth_config.h"

namespace re2 {
class RE2;
}

namespace harrier {

// A user as it is stored and imported. The hash is that of password_hash.h; with an empty one the
// user cannot log in by password.
struct StoredUser {
  std::string name;
  std::string password_hash;
  std::vector<std::string> tags;
};

// What a user may do in one virtual host.
struct StoredPermissions {
  std::string user;
  std::string vhost;
  PermissionPatterns patterns;
};

// The users and permissions the broker itself keeps. Immutable once made, so that every shard asks
// without a lock; a change makes a new store with the next revision.
// Patterns are RE2, searched unanchored over octets; what only PCRE has (look-around, back
// references) is refused when the store is made.
class InternalStore final : public Access {
 public:
  // The store an empty broker starts with: the default user and its permissions. Fails
  // when one of its patterns is not valid.
  static Result<std::unique_ptr<InternalStore>, std::string> from_config(const AuthConfig& config);

  // Permissions of a user who is not among `users` are an error, as is a pattern that RE2 refuses.
  static Result<std::unique_ptr<InternalStore>, std::string> make(
      const std::vector<StoredUser>& users, const std::vector<StoredPermissions>& permissions,
      const AuthConfig& config, std::uint64_t revision);

  ~InternalStore() override;

  AuthenticationResult authenticate(std::string_view user, std::string_view password,
                                    PeerInfo peer) const override;
  AuthenticationResult authenticate_anonymous(PeerInfo peer) const override;
  bool may_access_vhost(const User& user, std::string_view vhost) const override;
  bool permits(const User& user, std::string_view vhost, Permission permission,
               std::string_view resource) const override;

  std::uint64_t revision() const override { return revision_; }

 private:
  // Null for the empty pattern, which matches nothing.
  using Pattern = std::unique_ptr<re2::RE2>;

  // What one user may do in one virtual host.
  struct Grant {
    std::string vhost;
    Pattern configure;
    Pattern write;
    Pattern read;
  };

  struct Record {
    std::shared_ptr<const User> user;
    std::string password_hash;
    std::vector<Grant> grants;  // one per virtual host
  };

  static Result<Pattern, std::string> compile(std::string_view text);
  static Result<Grant, std::string> make_grant(const StoredPermissions& permissions);
  InternalStore(const AuthConfig& config, std::uint64_t revision);
  const Grant* find_grant(const User& user, std::string_view vhost) const;

  std::map<std::string, Record, std::less<>> users_;
  std::string unknown_user_hash_;  // compared with when there is no such user, to take as long
  std::vector<std::string> loopback_users_;
  std::string anonymous_user_;
  std::string anonymous_pass_;
  std::uint64_t revision_;
};

}  // namespace harrier
