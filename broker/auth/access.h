#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace harrier {

// Who a connection logged in as. Tags are for the management side; they grant no messaging right.
struct User {
  std::string name;
  std::vector<std::string> tags;
};

// What a client asks of an exchange or queue. Which method needs which: docs/compatibility.md.
enum class Permission {
  configure,
  write,
  read,
};

// What matters about the other end of a connection when it logs in.
struct PeerInfo {
  bool loopback = false;
};

// Why a log-in was refused: "wrong password". For the log only: the peer is told ACCESS_REFUSED and
// never more, lest it learn which half was wrong.
struct AuthenticationFailure {
  std::string reason;
};

using AuthenticationResult = Result<std::shared_ptr<const User>, AuthenticationFailure>;

// The question "may they?" as sessions and management ask it; core never asks. An implementation
// answers from memory without blocking, on any thread.
class Access {
 public:
  virtual ~Access() = default;

  // Checks credentials already taken out of the SASL response (PLAIN, AMQPLAIN).
  virtual AuthenticationResult authenticate(std::string_view user, std::string_view password,
                                            PeerInfo peer) const = 0;

  // The mechanism ANONYMOUS: logs in as the configured user, whose own rules still hold.
  virtual AuthenticationResult authenticate_anonymous(PeerInfo peer) const = 0;

  // Whether `user` has any permission row for `vhost`. Does not say that the virtual host exists.
  virtual bool may_access_vhost(const User& user, std::string_view vhost) const = 0;

  // Whether the pattern of `user` on `vhost` finds a match anywhere in `resource`, the name of an
  // exchange or queue. Pass the default exchange by its name "": it is matched as "amq.default".
  // False for a user who was deleted meanwhile.
  virtual bool permits(const User& user, std::string_view vhost, Permission permission,
                       std::string_view resource) const = 0;

  // Changes whenever an answer above may have changed. A cached answer is good while this is.
  virtual std::uint64_t revision() const = 0;
};

}  // namespace harrier
