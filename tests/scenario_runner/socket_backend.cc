#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>
#include <utility>

#include "cli/admin_client.h"
#include "tests/scenario_runner/backend.h"

// TCP to a broker that runs already, or to a harrierd that this process starts.

namespace harrier::scenario {
namespace {

constexpr std::string_view kStarted = "Server startup complete";

class SocketWire final : public Wire {
 public:
  SocketWire(const std::string& host, std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    const bool parsed = ::inet_pton(AF_INET, host.c_str(), &address.sin_addr) == 1;
    if (!parsed || ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      close();
      throw std::runtime_error("no broker at " + host + ":" + std::to_string(port));
    }
    const int on = 1;
    const timeval patience{10, 0};
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  }

  ~SocketWire() override { close(); }

  SocketWire(const SocketWire&) = delete;
  SocketWire& operator=(const SocketWire&) = delete;

  void send(ByteView octets) override {
    while (fd_ >= 0 && !octets.empty()) {
      const ssize_t sent = ::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL);
      if (sent < 0) return;  // closed by the broker, which receive() will see
      octets.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  void receive(Buffer& into, Milliseconds patience) override {
    std::array<char, 65536> chunk{};
    pollfd ready{fd_, POLLIN, 0};
    int wait_ms = static_cast<int>(patience.count());
    while (!closed_ && fd_ >= 0 && ::poll(&ready, 1, wait_ms) > 0) {
      wait_ms = 0;
      const ssize_t got = ::recv(fd_, chunk.data(), chunk.size(), 0);
      if (got <= 0) {
        closed_ = true;
      } else {
        into.append({chunk.data(), static_cast<std::size_t>(got)});
      }
    }
  }

  bool closed() const override { return closed_; }

  void close() override {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    closed_ = true;
  }

 private:
  int fd_;
  bool closed_ = false;
};

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd, any, size) != 0 || ::getsockname(fd, any, &size) != 0) {
    throw std::runtime_error("no free port");
  }
  ::close(fd);
  return ntohs(address.sin_port);
}

// A harrierd in a process of its own and a directory that is removed with it.
class Server {
 public:
  explicit Server(const SocketOptions& options) : options_(options) {
    std::string name = std::filesystem::temp_directory_path() / "harrier-scenario-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
    directory_ = name;
    start();
  }

  ~Server() {
    stop();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void restart() {
    stop();
    start();
  }

  std::string data_dir() const { return directory_ + "/data"; }

 private:
  void start() {
    std::array<int, 2> output{};
    if (::pipe2(output.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    process_ = ::fork();
    if (process_ == 0) {
      ::dup2(output[1], STDOUT_FILENO);
      ::dup2(output[1], STDERR_FILENO);
      execute();
    }
    ::close(output[1]);
    const bool started = await_start(output[0]);
    // The server's log has to go somewhere for as long as it runs.
    reader_ = std::thread([fd = output[0]] {
      std::array<char, 4096> chunk{};
      while (::read(fd, chunk.data(), chunk.size()) > 0) {
      }
      ::close(fd);
    });
    if (!started) {
      stop();
      throw std::runtime_error(options_.server + " did not start");
    }
  }

  [[noreturn]] void execute() const {
    std::vector<std::string> words = {
        options_.server, "--data-dir", data_dir(), "--set",
        "listeners.tcp.default=" + options_.host + ":" + std::to_string(options_.port)};
    for (const std::string& setting : options_.settings) {
      words.emplace_back("--set");
      words.push_back(setting);
    }
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words)
      arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execv(options_.server.c_str(), arguments.data());
    ::_exit(127);
  }

  static bool await_start(int fd) {
    std::string seen;
    std::array<char, 4096> chunk{};
    while (seen.find(kStarted) == std::string::npos) {
      const ssize_t got = ::read(fd, chunk.data(), chunk.size());
      if (got <= 0) return false;
      seen.append(chunk.data(), static_cast<std::size_t>(got));
    }
    return true;
  }

  void stop() {
    if (process_ > 0) {
      ::kill(process_, SIGTERM);
      ::waitpid(process_, nullptr, 0);
      process_ = -1;
    }
    if (reader_.joinable()) reader_.join();
  }

  const SocketOptions options_;
  std::string directory_;
  pid_t process_ = -1;
  std::thread reader_;
};

// What `command` prints, given one more word.
std::string output_of(const std::string& command, std::string word) {
  for (std::size_t at = 0; (at = word.find('\'', at)) != std::string::npos; at += 4) {
    word.replace(at, 1, R"('\'')");
  }
  FILE* const pipe = ::popen((command + " '" + word + "'").c_str(), "re");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  std::string output;
  std::array<char, 4096> chunk{};
  while (const std::size_t got = std::fread(chunk.data(), 1, chunk.size(), pipe)) {
    output.append(chunk.data(), got);
  }
  if (::pclose(pipe) != 0) throw std::runtime_error("the admin command failed: " + output);
  return output;
}

class SocketBackend final : public Backend {
 public:
  explicit SocketBackend(SocketOptions options) : options_(std::move(options)) {
    if (options_.server.empty()) return;
    options_.port = free_port();
    server_ = std::make_unique<Server>(options_);
  }

  std::unique_ptr<Wire> open_connection() override {
    return std::make_unique<SocketWire>(options_.host, options_.port);
  }

  bool deterministic() const override { return false; }

  bool counts_lag() const override { return options_.counts_lag; }

  void advance(Milliseconds by) override { ::poll(nullptr, 0, static_cast<int>(by.count())); }

  bool start_empty() override { return false; }

  bool can_restart() const override {
    return server_ != nullptr || !options_.restart_command.empty();
  }

  void restart() override {
    if (server_ != nullptr) {
      server_->restart();
    } else if (std::system(options_.restart_command.c_str()) != 0) {
      throw std::runtime_error("the restart command failed");
    }
  }

  std::string admin(const std::string& line) override {
    if (!options_.admin_command.empty()) return output_of(options_.admin_command, line);
    if (server_ == nullptr) throw std::runtime_error("admin needs a server of this run");
    const auto reply = ask_broker(server_->data_dir(), line);
    if (!reply) throw std::runtime_error(reply.error().why);
    return *reply;
  }

 private:
  SocketOptions options_;
  std::unique_ptr<Server> server_;
};

}  // namespace

std::unique_ptr<Backend> make_socket_backend(const SocketOptions& options) {
  return std::make_unique<SocketBackend>(options);
}

}  // namespace harrier::scenario
