#include "broker/admin/admin_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "broker/admin/admin_address.h"
#include "tests/unit/admin/temp_folder.h"

namespace harrier {
namespace {

namespace fs = std::filesystem;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

// A client of the socket that blocks.
class Peer {
 public:
  explicit Peer(const std::string& data_dir) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    const auto address = AdminAddress::of(data_dir);
    REQUIRE(address.has_value());
    const sockaddr_un raw = address_of(address->short_path());
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&raw), sizeof(raw)) == 0);
  }

  ~Peer() { ::close(socket_); }

  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void send(std::string_view octets) const {
    while (!octets.empty()) {
      const ssize_t sent = ::send(socket_, octets.data(), octets.size(), MSG_NOSIGNAL);
      if (sent < 0) return;  // the other side ended: reading shows it
      octets.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  // With its newline; what came before the end of the connection if that is sooner.
  std::string line() const {
    std::string line;
    char octet = 0;
    while (!line.ends_with('\n') && ::recv(socket_, &octet, 1, 0) == 1)
      line += octet;
    return line;
  }

  std::string ask(std::string_view octets) const {
    send(octets);
    return line();
  }

  void await_end() const {
    pollfd hang_up{socket_, 0, 0};
    REQUIRE(::poll(&hang_up, 1, -1) == 1);
  }

 private:
  int socket_;
};

void echo(std::string_view line, AdminReplyTo reply) {
  reply([text = std::string(line)] { return "<" + text + ">\n"; });
}

constexpr std::chrono::milliseconds kSoon{20};

// A server that echoes on a folder of its own.
struct Fixture {
  explicit Fixture(AdminLimits limits = {}, AdminHandler handler = echo)
      : server(std::move(handler), limits) {
    const auto opened = server.open(folder.path());
    REQUIRE_MESSAGE(opened.has_value(), opened.error());
  }

  TempFolder folder;
  AdminServer server;
};

TEST_SUITE_BEGIN("admin server");

TEST_CASE("every line gets its answer, one after the other") {
  const Fixture with;
  const Peer peer(with.folder.path());
  CHECK(peer.ask("one\n") == "<one>\n");
  CHECK(peer.ask("two\nthree\n\nfo") == "<two>\n");
  CHECK(peer.line() == "<three>\n");
  CHECK(peer.line() == "<>\n");
  CHECK(peer.ask("ur\n") == "<four>\n");
}

TEST_CASE("the next request of a connection waits for the reply to the one before") {
  std::string seen;
  AdminReplyTo waiting;
  const Fixture with({}, [&](std::string_view line, AdminReplyTo reply) {
    if (line == "slow") {
      waiting = std::move(reply);
    } else {
      if (line == "release") echo("slow", std::move(waiting));
      echo(seen, std::move(reply));
    }
    seen += line.substr(0, 1);
  });
  const Peer slow(with.folder.path());
  const Peer other(with.folder.path());
  slow.send("slow\nnext\n");
  while (other.ask("?\n").find('s') == std::string::npos) {
  }
  const std::string until_then = other.ask("release\n");
  CHECK(until_then.find('s') != std::string::npos);
  CHECK(until_then.find('n') == std::string::npos);
  CHECK(slow.line() == "<slow>\n");
  CHECK(slow.line().find('r') != std::string::npos);
}

TEST_CASE("a line may be as long as the limit, and no longer") {
  const Fixture with({.line_bytes_max = 100});
  const Peer peer(with.folder.path());
  const std::string longest(99, 'x');
  CHECK(peer.ask(longest + "\n") == "<" + longest + ">\n");
  CHECK(peer.ask(longest + "x\n") == "{\"error\":\"a request has at most 100 octets\"}\n");
  CHECK(peer.line().empty());
}

TEST_CASE("a peer without end is cut off while it sends") {
  const Fixture with;
  const Peer peer(with.folder.path());
  CHECK(peer.ask(std::string(10'000'000, 'x')) ==
        "{\"error\":\"a request has at most 65536 octets\"}\n");
}

TEST_CASE("a peer that is silent, slow or does not take its reply is cut off") {
  const Fixture with({.patience = kSoon}, [](std::string_view, AdminReplyTo reply) {
    reply([] { return std::string(10'000'000, 'x') + "\n"; });
  });
  const Peer silent(with.folder.path());
  const Peer slow(with.folder.path());
  const Peer deaf(with.folder.path());
  slow.send("half a requ");
  deaf.send("a large one\n");
  silent.await_end();
  slow.await_end();
  deaf.await_end();
  CHECK(silent.line().empty());
  CHECK(slow.line().empty());
  CHECK(deaf.line().size() < 10'000'000);
}

TEST_CASE("a command may take longer than a peer may") {
  AdminReplyTo waiting;
  const Fixture with({.patience = kSoon}, [&](std::string_view line, AdminReplyTo reply) {
    if (line == "begin") {
      waiting = std::move(reply);
    } else {
      echo("done", std::move(waiting));
      echo(line, std::move(reply));
    }
  });
  const Peer patient(with.folder.path());
  patient.send("begin\n");
  const Peer silent(with.folder.path());  // came later, so its time is over later
  silent.await_end();
  const Peer other(with.folder.path());
  CHECK(other.ask("finish\n") == "<finish>\n");
  CHECK(patient.line() == "<done>\n");
}

TEST_CASE("only so many are served at once, and the next one is told") {
  const Fixture with({.connections_max = 2});
  const Peer one(with.folder.path());
  CHECK(one.ask("a\n") == "<a>\n");
  {
    const Peer two(with.folder.path());
    CHECK(two.ask("b\n") == "<b>\n");
    const Peer three(with.folder.path());
    CHECK(three.line() == "{\"error\":\"too many admin connections; try later\"}\n");
    CHECK(three.line().empty());
  }
  std::string served;
  while (!served.starts_with("<"))  // until the server saw that the second one left
    served = Peer(with.folder.path()).ask("c\n");
  CHECK(served == "<c>\n");
  CHECK(one.ask("d\n") == "<d>\n");
}

TEST_CASE("a peer that leaves before its reply harms nobody") {
  std::vector<AdminReplyTo> open;
  const Fixture with({}, [&](std::string_view line, AdminReplyTo reply) {
    for (AdminReplyTo& other : std::exchange(open, {}))
      echo("late", std::move(other));
    if (line == "later") return open.push_back(std::move(reply));
    echo(line, std::move(reply));
  });
  Peer(with.folder.path()).send("later\n");
  const Peer other(with.folder.path());
  CHECK(other.ask("a\n") == "<a>\n");
  CHECK(other.ask("b\n") == "<b>\n");
}

TEST_CASE("the socket is its owner's alone, whatever the umask is") {
  const mode_t before = ::umask(0);
  const Fixture with;
  ::umask(before);

  struct stat found {};

  REQUIRE(::stat(with.folder.socket().c_str(), &found) == 0);
  CHECK(S_ISSOCK(found.st_mode));
  CHECK((found.st_mode & 0777) == 0600);
}

TEST_CASE("the socket of a killed broker is replaced, and one's own removed at the end") {
  Fixture with;
  with.server.stop();
  CHECK(!fs::exists(with.folder.socket()));
  with.server.stop();

  const int stale = ::socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un raw = address_of(with.folder.socket());
  REQUIRE(::bind(stale, reinterpret_cast<const sockaddr*>(&raw), sizeof(raw)) == 0);
  ::close(stale);
  REQUIRE(fs::exists(with.folder.socket()));
  {
    AdminServer next(echo);
    REQUIRE(next.open(with.folder.path()).has_value());
    CHECK(Peer(with.folder.path()).ask("a\n") == "<a>\n");
  }
  CHECK(!fs::exists(with.folder.socket()));
}

TEST_CASE("a file that is no socket is left alone, and told") {
  const TempFolder folder;
  std::ofstream(folder.socket()) << "mine";
  AdminServer server(echo);
  const auto opened = server.open(folder.path());
  REQUIRE(!opened.has_value());
  CHECK(opened.error().find(folder.socket()) != std::string::npos);
  server.stop();
  CHECK(fs::file_size(folder.socket()) == 4);
}

TEST_CASE("a path longer than an address holds serves too") {
  const TempFolder folder;
  const std::string deep =
      folder.path() + "/" + std::string(100, 'a') + "/" + std::string(100, 'b');
  fs::create_directories(deep);
  {
    AdminServer server(echo);
    const auto opened = server.open(deep);
    REQUIRE_MESSAGE(opened.has_value(), opened.error());
    CHECK(fs::is_socket(deep + "/harrier.sock"));
    CHECK(Peer(deep).ask("a\n") == "<a>\n");
  }
  CHECK(fs::is_empty(deep));
}

TEST_CASE("paths are told apart at exactly the size of an address") {
  const TempFolder folder;
  for (const std::size_t size : {106U, 107U, 108U, 109U}) {
    CAPTURE(size);
    const std::size_t around = folder.path().size() + std::string_view("//harrier.sock").size();
    const std::string data_dir = folder.path() + "/" + std::string(size - around, 'x');
    fs::create_directory(data_dir);
    const auto address = AdminAddress::of(data_dir);
    REQUIRE(address.has_value());
    CHECK(address->path().size() == size);
    CHECK((address->short_path() == address->path()) == (size <= 107));
    AdminServer server(echo);
    REQUIRE(server.open(data_dir).has_value());
    CHECK(Peer(data_dir).ask("a\n") == "<a>\n");
  }
}

TEST_CASE("a reply that comes after the end goes nowhere") {
  AdminReplyTo late;  // the admin thread's, until that has ended
  Fixture with({}, [&](std::string_view line, AdminReplyTo reply) {
    if (line == "late") {
      late = std::move(reply);
    } else {
      echo(late ? "asked" : "not yet", std::move(reply));
    }
  });
  const Peer peer(with.folder.path());
  const Peer other(with.folder.path());
  peer.send("late\n");
  while (other.ask("?\n") != "<asked>\n") {
  }
  with.server.stop();
  CHECK(peer.line().empty());
  bool made = false;
  late([&] {
    made = true;
    return std::string("\n");
  });
  CHECK(!made);
}

TEST_SUITE_END();

}  // namespace
}  // namespace harrier
