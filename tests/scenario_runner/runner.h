#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/scenario_runner/backend.h"
#include "tests/scenario_runner/client.h"
#include "tests/scenario_runner/expectation.h"
#include "tests/scenario_runner/login.h"
#include "tests/scenario_runner/scenario.h"

namespace harrier::scenario {

// Executes one scenario, step by step, as the AMQP clients in it. Make a new one for each file.
class Runner {
 public:
  explicit Runner(Backend& backend) : backend_(backend) {}

  // Runs all steps, checks that nothing unexpected is left, and removes what was declared. Throws
  // Failure.
  void run(const Scenario& scenario);

 private:
  // For what has to come, on backends that wait.
  static constexpr Milliseconds kPatience{5000};

  struct Connection {
    std::unique_ptr<Client> client;
    bool opened = false;  // by a complete handshake of ours
    std::uint32_t frame_max = 131'072;
    std::set<ChannelNumber> open_channels;
  };

  // A verb that is one method: its reply, and the arguments written without their names.
  struct Call {
    std::string_view verb;
    std::string_view method;
    std::string_view reply;  // empty: the broker does not answer
    std::vector<std::string_view> arguments;
  };

  static const std::vector<Call>& calls();
  static const Call* find_call(std::string_view verb);

  void execute(const Step& written);
  void perform(const Step& step);

  // Verbs.
  void call(const Step& step, const Call& call);
  void connect(const Step& step);
  void close(const Step& step);
  void open(const Step& step);
  void publish(const Step& step);
  void drain(const Step& step);
  void send_method(const Step& step);
  void send_header(const Step& step);
  void send_body(const Step& step);
  void send_frame(const Step& step);
  void send_octets(const Step& step);
  void expect(const Step& step);
  void sync(const Step& step);
  void wait(const Step& step);
  void disconnect(const Step& step);
  void restart(const Step& step);
  void admin(const Step& step);
  void check_match(const Step& step);

  bool handshake(Connection& connection, const Login& login,
                 const std::optional<Expectation>& refusal);

  // Waiting for what has to come.
  void meet(const Step& step, ChannelNumber channel, const Expectation& expected);
  void meet_method(const Step& step, ChannelNumber channel, const Expectation& expected);
  void meet_reply(const Step& step, ChannelNumber channel, const Expectation& expected);
  void meet_nothing(const Step& step, ChannelNumber channel);
  void meet_disconnected(const Step& step, const Expectation& expected);
  void meet_settled(const Step& step, ChannelNumber channel, const Expectation& expected);
  void meet_octets(const Step& step, const Expectation& expected);
  Received take(const Step& step, ChannelNumber channel, const Expectation& expected);
  void check(const Step& step, const Received& received, const Expectation& expected,
             std::size_t nth);
  void after_close(const Step& step, const Received& received, bool unanswered);
  Milliseconds deadline(std::optional<Milliseconds> within) const;
  bool round_trip(Connection& connection, ChannelNumber channel);

  // Connections and channels that a step uses; opened on first use.
  Connection& existing(const Step& step);
  Connection& connected(const Step& step);
  Connection& with_channel(const Step& step);
  void send(Connection& connection, std::string_view method, ChannelNumber channel,
            const std::vector<Option>& fields);
  void remember_declared(std::string_view method, const std::vector<Option>& fields);

  std::string expand(const Word& word, int line) const;
  void check_nothing_left();
  void clean_up();

  Backend& backend_;
  std::map<std::string, Connection> connections_;
  std::map<std::string, std::string> variables_;
  std::set<std::string> queues_;
  std::set<std::string> exchanges_;
  int line_ = 0;
};

}  // namespace harrier::scenario
