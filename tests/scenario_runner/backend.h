#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace harrier::scenario {

// The broker's end of one connection as octets: all that a scenario can see of it.
class Wire {
 public:
  virtual ~Wire() = default;

  // Octets to the broker. Ignored once the broker has closed.
  virtual void send(ByteView octets) = 0;

  // Appends what has arrived since the last call. A backend that has to wait for its broker waits
  // up to `patience` for the first octet; a deterministic one never waits.
  virtual void receive(Buffer& into, Milliseconds patience) = 0;

  // Whether the broker ended the connection and everything it sent before was received.
  virtual bool closed() const = 0;

  // Ends the connection abruptly, as a crashed client would. Nothing is received afterwards.
  virtual void close() = 0;
};

// A broker to run scenarios against. One backend serves all files of a run, one after the other.
class Backend {
 public:
  virtual ~Backend() = default;

  // A connection as of TCP: no octet has been sent. Throws std::runtime_error if there is no
  // broker.
  virtual std::unique_ptr<Wire> open_connection() = 0;

  // True: what send() causes has happened when it returns, and time moves only in advance().
  // "Nothing arrives" is then exact and the runner never waits.
  virtual bool deterministic() const = 0;

  // True: a queue.declare may be answered before publishes and settlements that the same channel
  // sent earlier are counted, as in RabbitMQ. Declares are then repeated until the counts fit.
  virtual bool counts_lag() const = 0;

  // Lets time pass: moves a manual clock and runs its timers, or sleeps.
  virtual void advance(Milliseconds by) = 0;

  // Called before each file. True if the broker is now empty; otherwise the runner deletes what the
  // file has declared when it is through.
  virtual bool start_empty() = 0;

  // Stops the broker in an orderly way and starts it on what it had stored; every wire is closed.
  virtual bool can_restart() const = 0;
  virtual void restart() = 0;

  // The answer to a line for the admin socket (broker/admin/admin_message.h). Throws
  // std::runtime_error where there is none.
  virtual std::string admin(const std::string& line) = 0;
};

// Where a TCP backend finds its broker.
struct SocketOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 5672;

  // If set, the backend runs this harrierd itself, on a free port and in a directory of its own.
  std::string server;
  std::vector<std::string> settings;  // each KEY=VALUE, for --set

  bool counts_lag = false;  // the broker is RabbitMQ

  // Otherwise: a shell command that restarts the broker and returns when it listens again.
  std::string restart_command;

  // ... and one that does what its last word, a line for the admin socket, says; it prints the
  // answer.
  std::string admin_command;
};

std::unique_ptr<Backend> make_socket_backend(const SocketOptions& options);

// Harrier's connection state machine in this process, on a ManualClock. Null if it is not built in.
std::unique_ptr<Backend> make_core_backend();

}  // namespace harrier::scenario
