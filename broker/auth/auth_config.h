#pragma once

#include <string>
#include <vector>

namespace harrier {

// Regular expressions over resource names; the empty one matches nothing.
struct PermissionPatterns {
  std::string configure = ".*";
  std::string write = ".*";
  std::string read = ".*";
};

// The user and virtual host an empty broker starts with, and who may log in from where.
struct AuthConfig {
  std::string default_user = "guest";
  std::string default_pass = "guest";
  std::string default_vhost = "/";
  std::vector<std::string> default_user_tags{"administrator"};
  PermissionPatterns default_permissions;

  // These may log in from a loopback address only.
  std::vector<std::string> loopback_users{"guest"};

  // Who a client of the mechanism ANONYMOUS becomes; an empty name refuses the mechanism.
  std::string anonymous_login_user = "guest";
  std::string anonymous_login_pass = "guest";
};

}  // namespace harrier
