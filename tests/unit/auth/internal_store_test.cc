#include "broker/auth/internal_store.h"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "broker/auth/password_hash.h"

using namespace harrier;

namespace {

constexpr PeerInfo kLocal{.loopback = true};
constexpr PeerInfo kRemote{.loopback = false};

std::unique_ptr<InternalStore> default_store() {
  return std::move(InternalStore::from_config(AuthConfig()).value());
}

// A store with the one user "app", who has `patterns` on the virtual host "/".
std::unique_ptr<InternalStore> store_with(PermissionPatterns patterns) {
  const StoredUser app{"app", hash_password("secret"), {}};
  return std::move(
      InternalStore::make({app}, {{"app", "/", std::move(patterns)}}, AuthConfig(), 1).value());
}

}  // namespace

TEST_SUITE("internal store: log-in") {
  TEST_CASE("guest logs in with the default password and is an administrator") {
    const auto store = default_store();
    const AuthenticationResult guest = store->authenticate("guest", "guest", kLocal);
    REQUIRE(guest.has_value());
    CHECK((*guest)->name == "guest");
    CHECK((*guest)->tags == std::vector<std::string>{"administrator"});
  }

  TEST_CASE("a wrong password, an empty one and an unknown name are refused") {
    const auto store = default_store();
    CHECK(store->authenticate("guest", "Guest", kLocal).error().reason == "wrong password");
    CHECK(store->authenticate("guest", "", kLocal).error().reason == "empty password");
    CHECK(store->authenticate("nobody", "nobody", kLocal).error().reason == "no such user");
    CHECK(store->authenticate("", "guest", kLocal).error().reason == "no such user");
  }

  TEST_CASE("an empty password is refused even where one is configured") {
    AuthConfig config;
    config.default_pass = "";
    const auto store = std::move(InternalStore::from_config(config).value());
    CHECK_FALSE(store->authenticate("guest", "", kLocal).has_value());
  }

  TEST_CASE("a loopback user is refused from elsewhere, after the password was checked") {
    const auto store = default_store();
    CHECK(store->authenticate("guest", "guest", kRemote).error().reason ==
          "may log in from this machine only");
    CHECK(store->authenticate("guest", "wrong", kRemote).error().reason == "wrong password");
  }

  TEST_CASE("without loopback users everybody logs in from anywhere") {
    AuthConfig config;
    config.loopback_users.clear();
    const auto store = std::move(InternalStore::from_config(config).value());
    CHECK(store->authenticate("guest", "guest", kRemote).has_value());
  }

  TEST_CASE("a user without a password hash cannot log in by password") {
    const StoredUser app{"app", "", {}};
    const auto store = std::move(InternalStore::make({app}, {}, AuthConfig(), 1).value());
    CHECK_FALSE(store->authenticate("app", "", kLocal).has_value());
    CHECK_FALSE(store->authenticate("app", "app", kLocal).has_value());
  }

  TEST_CASE("an anonymous client becomes the configured user, whose rules still hold") {
    const auto store = default_store();
    CHECK((*store->authenticate_anonymous(kLocal))->name == "guest");
    CHECK_FALSE(store->authenticate_anonymous(kRemote).has_value());
  }

  TEST_CASE("anonymous log-in is refused when nobody is configured for it") {
    AuthConfig config;
    config.anonymous_login_user = "";
    const auto store = std::move(InternalStore::from_config(config).value());
    CHECK_FALSE(store->authenticate_anonymous(kLocal).has_value());
  }
}

TEST_SUITE("internal store: permissions") {
  TEST_CASE(
      "the default user may do everything in the default virtual host and nothing elsewhere") {
    const auto store = default_store();
    const User& guest = **store->authenticate("guest", "guest", kLocal);
    CHECK(store->may_access_vhost(guest, "/"));
    CHECK_FALSE(store->may_access_vhost(guest, "other"));
    for (const Permission any : {Permission::configure, Permission::write, Permission::read}) {
      CHECK(store->permits(guest, "/", any, "orders"));
      CHECK_FALSE(store->permits(guest, "other", any, "orders"));
    }
  }

  TEST_CASE("patterns are searched for anywhere in the name") {
    struct Row {
      const char* pattern;
      std::string_view name;
      bool permitted;
    };

    for (const Row& row : {
             Row{".*", "orders", true},
             Row{"", "orders", false},
             Row{"", "", false},
             Row{"^$", "orders", false},
             Row{"der", "orders", true},
             Row{"^der", "orders", false},
             Row{"^orders$", "orders", true},
             Row{"^orders$", "orders.new", false},
             Row{"^(a|b)-", "b-queue", true},
             Row{"^amq\\.default$", "", true},
             Row{"^$", "", false},
             Row{"^.$", "\xff", true},
             Row{"^amq\\.gen.*$", "amq.gen-x", true},
         }) {
      CAPTURE(row.pattern);
      CAPTURE(row.name);
      const auto store = store_with({.configure = "", .write = row.pattern, .read = ""});
      const User app{"app", {}};
      CHECK(store->permits(app, "/", Permission::write, row.name) == row.permitted);
      CHECK_FALSE(store->permits(app, "/", Permission::configure, row.name));
      CHECK_FALSE(store->permits(app, "/", Permission::read, row.name));
    }
  }

  TEST_CASE("a permission row lets a user into the virtual host even if it permits nothing") {
    const auto store = store_with({.configure = "", .write = "", .read = ""});
    CHECK(store->may_access_vhost(User{"app", {}}, "/"));
  }

  TEST_CASE("a user who is not in the store may do nothing") {
    const auto store = default_store();
    CHECK_FALSE(store->may_access_vhost(User{"gone", {"administrator"}}, "/"));
    CHECK_FALSE(store->permits(User{"gone", {}}, "/", Permission::read, "orders"));
  }

  TEST_CASE("a pattern that is none is refused by name") {
    AuthConfig config;
    config.default_permissions.write = "(";
    const auto store = InternalStore::from_config(config);
    REQUIRE_FALSE(store.has_value());
    CHECK(store.error() ==
          "permissions of user 'guest' in vhost '/': '(' is no valid pattern: missing ): (");
  }

  TEST_CASE("permissions of a user who does not exist are refused") {
    const auto store = InternalStore::make({}, {{"app", "/", {}}}, AuthConfig(), 1);
    REQUIRE_FALSE(store.has_value());
    CHECK(store.error() == "there is no user 'app' to have permissions in vhost '/'");
  }

  TEST_CASE("the revision tells one store from the next") {
    CHECK(InternalStore::make({}, {}, AuthConfig(), 7).value()->revision() == 7);
  }

  TEST_CASE("several threads ask one store at once") {
    const auto store = default_store();
    std::vector<int> granted(4, 0);
    std::vector<std::thread> shards;
    shards.reserve(granted.size());
    for (int& count : granted) {
      shards.emplace_back([&store, &count] {
        const auto guest = store->authenticate("guest", "guest", kLocal);
        for (int i = 0; i < 200; ++i) {
          count += store->permits(**guest, "/", Permission::read, "q" + std::to_string(i)) ? 1 : 0;
        }
      });
    }
    for (std::thread& shard : shards)
      shard.join();
    CHECK(granted == std::vector<int>(4, 200));
  }
}
