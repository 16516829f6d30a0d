// The half of the runner that waits for what a scenario says has to come.
#include <algorithm>
#include <utility>

#include "tests/scenario_runner/method_text.h"
#include "tests/scenario_runner/runner.h"
#include "tests/scenario_runner/value_text.h"

namespace harrier::scenario {
namespace {

constexpr Milliseconds kGrace(30);  // for what must not come, after a round trip

using Inbox = std::deque<Received>;

bool is_settlement(const Received& received) {
  return received.name == "basic.ack" || received.name == "basic.nack";
}

// Whether `received` may stay in the inbox while a later item is taken: confirms and deliveries of
// one channel have no order among themselves, and a heartbeat comes when it likes.
bool may_wait(const Received& received, const std::string& event) {
  if (received.name == "heartbeat") return event != "heartbeat";
  if (event == "confirm" || event == "nack") return received.name == "basic.deliver";
  return event == "basic.deliver" && is_settlement(received);
}

Inbox::iterator next_for(Inbox& inbox, ChannelNumber channel, const std::string& event) {
  return std::find_if(inbox.begin(), inbox.end(), [&](const Received& received) {
    return received.channel == channel && !may_wait(received, event);
  });
}

Inbox::iterator connection_close(Inbox& inbox) {
  return std::find_if(inbox.begin(), inbox.end(),
                      [](const Received& received) { return received.name == "connection.close"; });
}

// What answers a synchronous method: deliveries, returns and confirms may come before it.
Inbox::iterator reply_on(Inbox& inbox, ChannelNumber channel) {
  return std::find_if(inbox.begin(), inbox.end(), [&](const Received& received) {
    return received.channel == channel &&
           (received.name.ends_with("-ok") || received.name == "basic.get-empty" ||
            received.name == "channel.close");
  });
}

}  // namespace

void Runner::meet(const Step& step, ChannelNumber channel, const Expectation& expected) {
  if (expected.event == "nothing") return meet_nothing(step, channel);
  if (expected.event == "disconnected") return meet_disconnected(step, expected);
  if (expected.event == "octets") return meet_octets(step, expected);
  if (expected.event == "confirm" || expected.event == "nack") {
    return meet_settled(step, channel, expected);
  }
  meet_method(step, expected.event == "heartbeat" ? ChannelNumber{0} : channel, expected);
}

// Takes the next item for the channel. A connection.close that was not asked for ends the wait.
Received Runner::take(const Step& step, ChannelNumber channel, const Expectation& expected) {
  if (expected.event.starts_with("connection.")) channel = 0;
  Client& client = *existing(step).client;
  Inbox& inbox = client.inbox();
  const auto next = [&] { return next_for(inbox, channel, expected.event); };
  client.await(deadline(expected.within), expected.within.has_value(),
               [&] { return next() != inbox.end() || connection_close(inbox) != inbox.end(); });
  auto found = next();
  if (found == inbox.end()) found = connection_close(inbox);
  if (found == inbox.end()) {
    throw Failure(step.line, "expected " + expected.text + "\n    got " +
                                 (client.closed() ? "the end of the connection" : "nothing"));
  }
  Received received = std::move(*found);
  inbox.erase(found);
  return received;
}

void Runner::check(const Step& step, const Received& received, const Expectation& expected,
                   std::size_t nth) {
  std::vector<Option> captured;
  const std::optional<std::string> difference = mismatch(received, expected, nth, captured);
  if (difference) {
    after_close(step, received, false);
    throw Failure(step.line, "expected " + expected.text + "\n    got " + received.to_text() +
                                 "\n    (" + *difference + ")");
  }
  for (const Option& capture : captured)
    variables_[capture.name] = capture.value;
}

void Runner::meet_method(const Step& step, ChannelNumber channel, const Expectation& expected) {
  const std::size_t count = std::max<std::size_t>(expected.bodies.size(), 1);
  for (std::size_t nth = 0; nth < count; ++nth) {
    const Received received = take(step, channel, expected);
    check(step, received, expected, nth);
    after_close(step, received, expected.unanswered);
  }
}

void Runner::meet_reply(const Step& step, ChannelNumber channel, const Expectation& expected) {
  Client& client = *existing(step).client;
  Inbox& inbox = client.inbox();
  client.await(kPatience, false, [&] {
    return reply_on(inbox, channel) != inbox.end() || connection_close(inbox) != inbox.end();
  });
  auto found = reply_on(inbox, channel);
  if (found == inbox.end()) found = connection_close(inbox);
  if (found == inbox.end()) {
    throw Failure(step.line, "expected " + expected.text + "\n    got " +
                                 (client.closed() ? "the end of the connection" : "no reply"));
  }
  const Received received = std::move(*found);
  inbox.erase(found);
  check(step, received, expected, 0);
  if (received.name == "queue.declare-ok") {
    queues_.insert(plain_text(*received.fields.find("queue")));
  }
  after_close(step, received, expected.unanswered);
}

// Does what a client does when the broker closes: answers and forgets the channel or connection.
void Runner::after_close(const Step& step, const Received& received, bool unanswered) {
  if (received.name != "channel.close" && received.name != "connection.close") return;
  const auto found = connections_.find(step.connection);
  if (unanswered || found == connections_.end()) return;
  send(found->second, received.name + "-ok", received.channel, {});
  if (received.name == "channel.close") {
    found->second.open_channels.erase(received.channel);
  } else {
    found->second.client->disconnect();
    connections_.erase(found);
  }
}

// The broker answers channel.flow at once on any channel that is open.
bool Runner::round_trip(Connection& connection, ChannelNumber channel) {
  Client& client = *connection.client;
  Inbox& inbox = client.inbox();
  send(connection, "channel.flow", channel, {{"active", Option::Compare::equal, "true"}});
  const auto answer = [&] {
    return std::find_if(inbox.begin(), inbox.end(), [&](const Received& received) {
      return received.channel == channel && received.name == "channel.flow-ok";
    });
  };
  client.await(kPatience, false,
               [&] { return answer() != inbox.end() || connection_close(inbox) != inbox.end(); });
  if (answer() == inbox.end()) return false;
  inbox.erase(answer());
  return true;
}

void Runner::meet_nothing(const Step& step, ChannelNumber channel) {
  Connection& connection = existing(step);
  Client& client = *connection.client;
  client.receive(Milliseconds(0));
  if (!backend_.deterministic()) {
    if (connection.open_channels.contains(channel)) round_trip(connection, channel);
    client.await(kGrace, false, [] { return false; });
  }
  for (const Received& received : client.inbox()) {
    if (received.name == "heartbeat") continue;
    if (received.channel != channel && received.channel != 0) continue;
    throw Failure(step.line, "expected nothing\n    got " + received.to_text());
  }
  if (client.closed()) {
    throw Failure(step.line, "expected nothing\n    got the end of the connection");
  }
}

void Runner::meet_disconnected(const Step& step, const Expectation& expected) {
  Client& client = *existing(step).client;
  Inbox& inbox = client.inbox();
  const auto something = [&] {
    return std::any_of(inbox.begin(), inbox.end(),
                       [](const Received& received) { return received.name != "heartbeat"; });
  };
  client.await(deadline(expected.within), expected.within.has_value(), something);
  if (something()) {
    throw Failure(step.line,
                  "expected the end of the connection\n    got " + inbox.front().to_text());
  }
  if (!client.closed()) {
    throw Failure(step.line, "expected the end of the connection\n    got nothing");
  }
  connections_.erase(step.connection);
}

// confirm 1..3: acknowledgements that cover exactly these numbers, however they are batched.
void Runner::meet_settled(const Step& step, ChannelNumber channel, const Expectation& expected) {
  const auto [first, last] = parse_range(expected.words.at(0));
  const std::string name = expected.event == "confirm" ? "basic.ack" : "basic.nack";
  std::set<std::uint64_t> open;
  for (std::uint64_t number = first; number <= last; ++number)
    open.insert(number);
  while (!open.empty()) {
    const Received received = take(step, channel, expected);
    const Value* tag = received.fields.find("delivery-tag");
    const Value* multiple = received.fields.find("multiple");
    const bool fits = received.name == name && tag != nullptr && multiple != nullptr;
    const auto number = fits ? static_cast<std::uint64_t>(*as_integer(*tag)) : 0;
    std::size_t settled = open.erase(number);
    if (fits && *as_bool(*multiple)) {
      settled += static_cast<std::size_t>(std::distance(open.begin(), open.lower_bound(number)));
      open.erase(open.begin(), open.lower_bound(number));
    }
    if (settled > 0) continue;
    after_close(step, received, false);
    throw Failure(step.line, "expected " + expected.text + "\n    got " + received.to_text());
  }
}

// Raw octets of what comes next on the connection, whatever the channel.
void Runner::meet_octets(const Step& step, const Expectation& expected) {
  const std::string wanted = parse_octets(expected.words);
  Client& client = *existing(step).client;
  Inbox& inbox = client.inbox();
  std::string got;
  while (got.size() < wanted.size()) {
    client.await(deadline(expected.within), expected.within.has_value(),
                 [&] { return !inbox.empty(); });
    if (inbox.empty()) break;
    got += inbox.front().octets;
    inbox.pop_front();
  }
  if (got == wanted) return;
  throw Failure(step.line, "expected " + to_language(Value::long_string(wanted)) + "\n    got " +
                               to_language(Value::long_string(got)));
}

}  // namespace harrier::scenario
