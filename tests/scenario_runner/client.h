#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "protocol/constants.h"
#include "protocol/value.h"
#include "tests/scenario_runner/backend.h"
#include "tests/scenario_runner/method_text.h"

namespace harrier::scenario {

// What the broker sent: a method, with its content if it has one.
struct Received {
  std::string name;  // as in the specification; or "heartbeat", "protocol-header", "unknown"
  ChannelNumber channel = 0;
  FieldTable fields;
  FieldTable properties;
  std::string properties_octets;  // flags and properties as they came
  std::string body;
  std::vector<std::size_t> body_frames;  // octets of each
  std::string octets;                    // all frames as they came

  std::string to_text() const;
};

// The client's end of a connection: cuts what arrives into Received and keeps it in order until a
// step asks for it. Knows no state of the protocol, so that a scenario may break every rule.
class Client {
 public:
  Client(Backend& backend, std::unique_ptr<Wire> wire);

  void send(ByteView octets) { wire_->send(octets); }

  // Takes in what has arrived, waiting up to `patience` where the backend has to wait.
  void receive(Milliseconds patience);

  // Waits until `wanted` finds something in the inbox, the connection ends, or `deadline` is over.
  // Without `may_pass`, a deterministic backend is not waited for.
  template <class Found>
  bool await(Milliseconds deadline, bool may_pass, Found&& found);

  std::deque<Received>& inbox() { return inbox_; }

  bool closed() const { return wire_->closed(); }

  void disconnect() { wire_->close(); }

 private:
  void parse();
  void take_frame(ByteView frame);

  Backend& backend_;
  std::unique_ptr<Wire> wire_;
  Buffer arrived_;
  bool header_possible_ = true;  // nothing was received yet
  std::map<ChannelNumber, Received> incomplete_;
  std::map<ChannelNumber, std::uint64_t> missing_;  // body octets of incomplete_
  std::deque<Received> inbox_;
};

template <class Found>
bool Client::await(Milliseconds deadline, bool may_pass, Found&& found) {
  using Steady = std::chrono::steady_clock;
  constexpr Milliseconds kStep(10);
  const Steady::time_point end = Steady::now() + deadline;
  receive(Milliseconds(0));
  for (Milliseconds passed(0); !found(); passed += kStep) {
    if (closed()) return false;
    if (backend_.deterministic()) {
      if (!may_pass || passed >= deadline) return false;
      backend_.advance(kStep);
    } else if (Steady::now() >= end) {
      return false;
    }
    receive(kStep);
  }
  return true;
}

}  // namespace harrier::scenario
