#include "tests/scenario_runner/runner.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "protocol/frame.h"
#include "tests/scenario_runner/login.h"
#include "tests/scenario_runner/method_text.h"
#include "tests/scenario_runner/value_text.h"

namespace harrier::scenario {
namespace {

Option equal_to(std::string name, Word value) {
  return {std::move(name), Option::Compare::equal, std::move(value)};
}

const Option* find_option(const std::vector<Option>& options, std::string_view name) {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [&](const Option& option) { return option.name == name; });
  return found == options.end() ? nullptr : &*found;
}

// The words of a line as fields of a method: arguments in their order, then names of bits and
// name=value. All x-...=value become entries of `arguments`.
std::vector<Option> fields_of(std::string_view method,
                              const std::vector<std::string_view>& arguments,
                              const std::vector<Word>& words) {
  std::vector<Option> fields;
  std::string table;
  const auto add_to_table = [&table](std::string_view entry) {
    if (!table.empty() && !entry.empty()) table += ',';
    table += entry;
  };
  std::size_t used = 0;
  for (const Word& word : words) {
    std::optional<Option> option = parse_option(word);
    if (option && option->name.starts_with("x-")) {
      add_to_table(option->name + "=" + option->value);
    } else if (option && option->name == "arguments") {
      add_to_table(std::string_view(option->value).substr(1, option->value.size() - 2));
    } else if (option) {
      option->name = field_name(option->name);
      fields.push_back(std::move(*option));
    } else if (is_plain(word) && has_bit(method, word)) {
      fields.push_back(equal_to(word, "true"));
    } else if (used < arguments.size()) {
      fields.push_back(equal_to(std::string(arguments[used++]), word));
    } else {
      throw std::invalid_argument(std::string(method) + " has no " + word);
    }
  }
  if (!table.empty()) fields.push_back(equal_to("arguments", "{" + table + "}"));
  return fields;
}

// A message as basic.publish and the raw `header` line describe it.
struct Content {
  std::vector<std::string> bodies;
  std::string properties;
  std::vector<Option> fields;  // of the method
};

// Splits words into bodies, properties and the rest.
Content content_of(const std::vector<Word>& words) {
  Content content;
  std::vector<Option> properties;
  for (const Word& word : words) {
    std::optional<Option> option = parse_option(word);
    if (!option) {
      content.bodies.push_back(unquote(word));
    } else if (option->name == "size") {
      content.bodies.emplace_back(std::stoul(option->value), 'x');
    } else if (option->name == "properties") {
      content.properties = parse_octets({option->value});
    } else if (is_property(option->name)) {
      properties.push_back(std::move(*option));
    } else {
      content.fields.push_back(std::move(*option));
    }
  }
  if (content.properties.empty()) content.properties = encode_properties(properties);
  return content;
}

std::string without_line_breaks(std::string name) {
  std::erase_if(name, [](char c) { return c == '\r' || c == '\n'; });
  return name;
}

// Printable text as a string of JSON.
std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

void Runner::run(const Scenario& scenario) {
  const bool empty_again = backend_.start_empty();
  try {
    for (const Step& step : scenario.steps)
      execute(step);
    check_nothing_left();
  } catch (...) {
    if (!empty_again) clean_up();
    throw;
  }
  if (!empty_again) clean_up();
}

void Runner::execute(const Step& written) {
  line_ = written.line;
  Step step = written;
  for (Word& word : step.words)
    word = expand(word, step.line);
  if (step.expectation) {
    for (Word& word : *step.expectation)
      word = expand(word, step.line);
  }
  if (step.verb == "declare" && backend_.counts_lag()) step.repeated = true;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    try {
      perform(step);
      return;
    } catch (const Failure&) {
      const bool over = backend_.deterministic() || std::chrono::steady_clock::now() >= end;
      if (!step.repeated || over) throw;
      backend_.advance(Milliseconds(10));
    } catch (const std::invalid_argument& error) {
      throw Failure(step.line, error.what());
    }
  }
}

const std::vector<Runner::Call>& Runner::calls() {
  static const std::vector<Call> all_calls = {
      {"exchange", "exchange.declare", "exchange.declare-ok", {"exchange", "type"}},
      {"delete-exchange", "exchange.delete", "exchange.delete-ok", {"exchange"}},
      {"bind-exchange",
       "exchange.bind",
       "exchange.bind-ok",
       {"destination", "source", "routing-key"}},
      {"unbind-exchange",
       "exchange.unbind",
       "exchange.unbind-ok",
       {"destination", "source", "routing-key"}},
      {"declare", "queue.declare", "queue.declare-ok", {"queue"}},
      {"delete", "queue.delete", "queue.delete-ok", {"queue"}},
      {"bind", "queue.bind", "queue.bind-ok", {"queue", "exchange", "routing-key"}},
      {"unbind", "queue.unbind", "queue.unbind-ok", {"queue", "exchange", "routing-key"}},
      {"purge", "queue.purge", "queue.purge-ok", {"queue"}},
      {"qos", "basic.qos", "basic.qos-ok", {"prefetch-count"}},
      {"consume", "basic.consume", "basic.consume-ok", {"queue"}},
      {"cancel", "basic.cancel", "basic.cancel-ok", {"consumer-tag"}},
      {"get", "basic.get", "basic.get-ok", {"queue"}},
      {"ack", "basic.ack", "", {"delivery-tag"}},
      {"nack", "basic.nack", "", {"delivery-tag"}},
      {"reject", "basic.reject", "", {"delivery-tag"}},
      {"recover", "basic.recover", "basic.recover-ok", {}},
      {"recover-async", "basic.recover-async", "", {}},
      {"confirm", "confirm.select", "confirm.select-ok", {}},
      {"tx-select", "tx.select", "tx.select-ok", {}},
      {"tx-commit", "tx.commit", "tx.commit-ok", {}},
      {"tx-rollback", "tx.rollback", "tx.rollback-ok", {}},
      {"flow", "channel.flow", "channel.flow-ok", {"active"}},
      {"access", "access.request", "access.request-ok", {"realm"}},
  };
  return all_calls;
}

const Runner::Call* Runner::find_call(std::string_view verb) {
  const auto found = std::find_if(calls().begin(), calls().end(),
                                  [&](const Call& call) { return call.verb == verb; });
  return found == calls().end() ? nullptr : &*found;
}

void Runner::perform(const Step& step) {
  using Verb = void (Runner::*)(const Step&);
  static const std::map<std::string_view, Verb> other_verbs = {
      {"connect", &Runner::connect},    {"close", &Runner::close},
      {"open", &Runner::open},          {"publish", &Runner::publish},
      {"drain", &Runner::drain},        {"send", &Runner::send_method},
      {"header", &Runner::send_header}, {"body", &Runner::send_body},
      {"frame", &Runner::send_frame},   {"octets", &Runner::send_octets},
      {"sync", &Runner::sync},          {"restart", &Runner::restart},
      {"match", &Runner::check_match},  {"expect", &Runner::expect},
      {"wait", &Runner::wait},          {"disconnect", &Runner::disconnect},
      {"admin", &Runner::admin},
  };
  if (const Call* known = find_call(step.verb)) return call(step, *known);
  if (const auto verb = other_verbs.find(step.verb); verb != other_verbs.end()) {
    return (this->*verb->second)(step);
  }
  throw Failure(step.line, "there is no verb " + step.verb);
}

void Runner::call(const Step& step, const Call& call) {
  Connection& connection = with_channel(step);
  const ChannelNumber channel = step.channel.value_or(1);
  std::vector<Option> fields = fields_of(call.method, call.arguments, step.words);
  if (call.verb == "consume" && find_option(fields, "consumer-tag") == nullptr) {
    fields.push_back(equal_to("consumer-tag", "c"));
  }
  send(connection, call.method, channel, fields);
  const bool answered = !call.reply.empty() && find_option(fields, "no-wait") == nullptr;
  if (!step.expectation) {
    if (!answered) return;
    Expectation reply;
    reply.event = call.reply;
    reply.text = call.reply;
    return meet_reply(step, channel, reply);
  }
  const Expectation expected =
      parse_expectation(*step.expectation, std::string(call.reply), method_id(call.method));
  if (answered && expected.event != "disconnected") {
    meet_reply(step, channel, expected);
  } else {
    meet(step, channel, expected);
  }
}

void Runner::connect(const Step& step) {
  if (connections_.contains(step.connection)) throw Failure(step.line, "is connected already");
  Connection& connection = connections_[step.connection];
  connection.client = std::make_unique<Client>(backend_, backend_.open_connection());
  if (step.words.size() == 1 && step.words[0] == "raw") return;

  std::optional<Expectation> refusal;
  if (step.expectation) refusal = parse_expectation(*step.expectation, "", std::nullopt);
  connection.opened = handshake(connection, parse_login(step.words), refusal);
  if (refusal && connection.opened) {
    throw Failure(step.line, "expected " + refusal->text + "\n    got a connection");
  }
  if (refusal) return meet(step, 0, *refusal);
  if (connection.opened) return;
  const std::deque<Received>& inbox = connection.client->inbox();
  const std::string got = inbox.empty() ? "nothing more" : inbox.front().to_text();
  connections_.erase(step.connection);
  throw Failure(step.line, "the handshake failed: " + got);
}

// Goes through the handshake as far as the broker does. What it does instead stays in the inbox.
bool Runner::handshake(Connection& connection, const Login& login,
                       const std::optional<Expectation>& refusal) {
  const std::optional<Milliseconds> within = refusal ? refusal->within : std::nullopt;
  const auto next_is = [&](std::string_view name) {
    std::deque<Received>& inbox = connection.client->inbox();
    connection.client->await(deadline(within), within.has_value(), [&] { return !inbox.empty(); });
    if (inbox.empty() || inbox.front().name != name) return false;
    inbox.pop_front();
    return true;
  };
  connection.frame_max = login.frame_max;
  connection.client->send(kProtocolHeader);
  if (!next_is("connection.start")) return false;
  send(connection, "connection.start-ok", 0, login.start_ok);
  if (!next_is("connection.tune")) return false;
  send(connection, "connection.tune-ok", 0, login.tune_ok);
  send(connection, "connection.open", 0, login.open);
  return next_is("connection.open-ok");
}

// `close` a channel, or `close connection`.
void Runner::close(const Step& step) {
  Connection& connection = existing(step);
  const bool whole = !step.words.empty() && step.words[0] == "connection";
  const ChannelNumber channel = whole ? ChannelNumber{0} : step.channel.value_or(1);
  const std::string method = whole ? "connection.close" : "channel.close";
  send(connection, method, channel, {equal_to("reply-code", "200"), equal_to("reply-text", "bye")});
  Expectation expected;
  expected.event = method + "-ok";
  expected.text = expected.event;
  if (step.expectation)
    expected = parse_expectation(*step.expectation, expected.event, method_id(method));
  meet(step, channel, expected);
  if (!whole) {
    connection.open_channels.erase(channel);
    return;
  }
  if (expected.event == "connection.close-ok") {
    connection.client->disconnect();
    connections_.erase(step.connection);
  }
}

void Runner::open(const Step& step) {
  Connection& connection = connected(step);
  const ChannelNumber channel = step.channel.value_or(1);
  send(connection, "channel.open", channel, {});
  Expectation expected;
  expected.event = expected.text = "channel.open-ok";
  if (step.expectation) {
    expected = parse_expectation(*step.expectation, expected.event, method_id("channel.open"));
  }
  connection.open_channels.insert(channel);
  meet(step, channel, expected);
}

// publish EXCHANGE KEY BODY... [bits] [properties]
void Runner::publish(const Step& step) {
  Connection& connection = with_channel(step);
  const ChannelNumber channel = step.channel.value_or(1);
  if (step.words.size() < 2)
    throw Failure(step.line, "publish needs an exchange and a routing key");
  std::vector<Option> fields = {equal_to("exchange", step.words[0]),
                                equal_to("routing-key", step.words[1])};
  std::vector<Word> rest;
  for (std::size_t i = 2; i < step.words.size(); ++i) {
    const Word& word = step.words[i];
    if (word == "persistent") {
      rest.emplace_back("delivery-mode=2");
    } else if (is_plain(word) && has_bit("basic.publish", word)) {
      fields.push_back(equal_to(word, "true"));
    } else {
      rest.push_back(word);
    }
  }
  Content content = content_of(rest);
  fields.insert(fields.end(), content.fields.begin(), content.fields.end());
  if (content.bodies.empty()) content.bodies.emplace_back();
  for (const std::string& body : content.bodies) {
    Buffer out;
    encode_named("basic.publish", channel, fields, out);
    encode_header_frame(channel, body.size(), content.properties, out);
    encode_body_frames(channel, body, connection.frame_max, out);
    connection.client->send(out.view());
  }
  if (step.expectation) {
    meet(step, channel, parse_expectation(*step.expectation, "", method_id("basic.publish")));
  }
}

// drain QUEUE [-> BODY... | nothing]: gets everything, without acknowledgement.
void Runner::drain(const Step& step) {
  Connection& connection = with_channel(step);
  const ChannelNumber channel = step.channel.value_or(1);
  std::string got;
  for (;;) {
    send(connection, "basic.get", channel,
         {equal_to("queue", step.words.at(0)), equal_to("no-ack", "true")});
    std::deque<Received>& inbox = connection.client->inbox();
    const auto reply = [&] {
      return std::find_if(inbox.begin(), inbox.end(), [&](const Received& received) {
        return (received.channel == channel &&
                (received.name.starts_with("basic.get-") || received.name == "channel.close")) ||
               received.name == "connection.close";
      });
    };
    connection.client->await(kPatience, false, [&] { return reply() != inbox.end(); });
    if (reply() == inbox.end()) throw Failure(step.line, "basic.get was not answered");
    const Received received = *reply();
    inbox.erase(reply());
    if (received.name == "basic.get-empty") break;
    if (received.name != "basic.get-ok") {
      after_close(step, received, false);
      throw Failure(step.line, "basic.get was answered with " + received.to_text());
    }
    got += (got.empty() ? "" : " ") + to_language(Value::long_string(received.body));
  }
  if (!step.expectation) return;
  std::string wanted;
  for (const Word& word : *step.expectation) {
    if (word == "nothing") break;
    wanted += (wanted.empty() ? "" : " ") + to_language(Value::long_string(unquote(word)));
  }
  if (got != wanted) throw Failure(step.line, "expected " + wanted + "\n    got " + got);
}

// send METHOD name=value...: as it stands, whatever the state.
void Runner::send_method(const Step& step) {
  if (step.words.empty()) throw Failure(step.line, "send needs a method");
  const std::string& method = step.words[0];
  const MethodId id = method_id(method);
  Connection& connection = existing(step);
  const ChannelNumber channel = step.channel.value_or(method.starts_with("connection.") ? 0 : 1);
  const std::vector<Word> rest(step.words.begin() + 1, step.words.end());
  send(connection, method, channel, fields_of(method, {}, rest));
  if (step.expectation) meet(step, channel, parse_expectation(*step.expectation, "", id));
}

// header [class=60] [weight=0] body-size=N [properties]
void Runner::send_header(const Step& step) {
  const Content content = content_of(step.words);
  const auto number = [&](std::string_view name, std::uint64_t otherwise) {
    const Option* option = find_option(content.fields, name);
    return option == nullptr ? otherwise : std::stoull(option->value);
  };
  Buffer payload;
  WireWriter writer(payload, kContentHeaderBytes);
  writer.u16(static_cast<std::uint16_t>(number("class", kClassBasic)));
  writer.u16(static_cast<std::uint16_t>(number("weight", 0)));
  writer.u64(number("body-size", 0));
  payload.append(content.properties);
  Buffer frame;
  WireWriter frame_writer(frame, payload.size() + kFrameOverhead);
  write_frame_header(frame_writer, FrameType::header, step.channel.value_or(1), payload.size());
  frame_writer.octets(payload.view());
  frame_writer.u8(kFrameEnd);
  existing(step).client->send(frame.view());
}

void Runner::send_body(const Step& step) {
  for (const std::string& body : content_of(step.words).bodies) {
    Buffer frame;
    WireWriter writer(frame, body.size() + kFrameOverhead);
    write_frame_header(writer, FrameType::body, step.channel.value_or(1), body.size());
    writer.octets(body);
    writer.u8(kFrameEnd);
    existing(step).client->send(frame.view());
  }
}

// frame TYPE CHANNEL octets...
void Runner::send_frame(const Step& step) {
  if (step.words.size() < 2) throw Failure(step.line, "frame needs a type and a channel");
  const std::string payload = parse_octets({step.words.begin() + 2, step.words.end()});
  Buffer frame;
  WireWriter writer(frame, payload.size() + kFrameOverhead);
  write_frame_header(writer, static_cast<FrameType>(std::stoul(step.words[0])),
                     static_cast<ChannelNumber>(std::stoul(step.words[1])), payload.size());
  writer.octets(payload);
  writer.u8(kFrameEnd);
  existing(step).client->send(frame.view());
}

void Runner::send_octets(const Step& step) {
  existing(step).client->send(parse_octets(step.words));
}

void Runner::expect(const Step& step) {
  if (step.words.empty()) throw Failure(step.line, "expect what?");
  const Expectation expected = parse_expectation(step.words, "", std::nullopt);
  const bool about_connection = expected.event.starts_with("connection.");
  meet(step, step.channel.value_or(about_connection ? 0 : 1), expected);
}

// A round trip on the channel: everything sent before was processed there.
void Runner::sync(const Step& step) {
  Connection& connection = existing(step);
  if (!round_trip(connection, step.channel.value_or(1))) {
    throw Failure(step.line, "the channel does not answer");
  }
}

// Time passes in small steps, so that a manual clock meets every timer when it is due.
void Runner::wait(const Step& step) {
  if (step.words.size() != 1) throw Failure(step.line, "wait how long?");
  const Milliseconds whole = parse_duration(step.words[0]);
  if (!backend_.deterministic()) return backend_.advance(whole);
  constexpr Milliseconds kStep(10);
  for (Milliseconds rest = whole; rest > Milliseconds(0); rest -= kStep) {
    backend_.advance(std::min(rest, kStep));
  }
}

// A machine that is busy may take longer than a broker may.
Milliseconds Runner::deadline(std::optional<Milliseconds> within) const {
  const Milliseconds allowed = within.value_or(kPatience);
  return backend_.deterministic() ? allowed : std::max(allowed, kPatience);
}

// Drops the socket as a crashed client would.
void Runner::disconnect(const Step& step) {
  existing(step).client->disconnect();
  connections_.erase(step.connection);
}

void Runner::restart(const Step&) {
  connections_.clear();
  backend_.restart();
}

// admin COMMAND name=value...
void Runner::admin(const Step& step) {
  if (step.words.empty()) throw Failure(step.line, "admin what?");
  std::string line = R"({"command":)" + json_text(unquote(step.words[0]));
  for (std::size_t at = 1; at < step.words.size(); ++at) {
    const std::size_t equals = step.words[at].find('=');
    if (equals == std::string::npos) throw Failure(step.line, "an argument is name=value");
    line += "," + json_text(step.words[at].substr(0, equals)) + ":" +
            json_text(unquote(step.words[at].substr(equals + 1)));
  }
  const std::string reply = backend_.admin(line + "}");
  if (!reply.starts_with(R"({"ok":true)")) throw Failure(step.line, "got " + reply);
}

// match TEXT REGEX
void Runner::check_match(const Step& step) {
  if (step.words.size() != 2) throw Failure(step.line, "match needs a text and an expression");
  const Value text = Value::long_string(unquote(step.words[0]));
  if (!matches(text, {"", Option::Compare::regex, step.words[1]})) {
    throw Failure(step.line, step.words[0] + " does not match " + step.words[1]);
  }
}

Runner::Connection& Runner::existing(const Step& step) {
  const auto found = connections_.find(step.connection);
  if (found == connections_.end()) return connected(step);
  return found->second;
}

Runner::Connection& Runner::connected(const Step& step) {
  if (!connections_.contains(step.connection)) {
    Step defaults;
    defaults.line = step.line;
    defaults.connection = step.connection;
    connect(defaults);
  }
  return connections_[step.connection];
}

Runner::Connection& Runner::with_channel(const Step& step) {
  Connection& connection = connected(step);
  const ChannelNumber channel = step.channel.value_or(1);
  if (channel != 0 && !connection.open_channels.contains(channel)) {
    Step defaults;
    defaults.line = step.line;
    defaults.connection = step.connection;
    defaults.channel = channel;
    open(defaults);
  }
  return connection;
}

void Runner::send(Connection& connection, std::string_view method, ChannelNumber channel,
                  const std::vector<Option>& fields) {
  Buffer out;
  encode_named(method, channel, fields, out);
  remember_declared(method, fields);
  connection.client->send(out.view());
}

void Runner::remember_declared(std::string_view method, const std::vector<Option>& fields) {
  if (method == "queue.declare") {
    if (const Option* name = find_option(fields, "queue")) {
      queues_.insert(without_line_breaks(unquote(name->value)));
    }
  } else if (method == "exchange.declare") {
    if (const Option* name = find_option(fields, "exchange")) {
      exchanges_.insert(without_line_breaks(unquote(name->value)));
    }
  }
}

// ${name} is a captured text, ${c*n} the character c n times.
std::string Runner::expand(const Word& word, int line) const {
  std::string out;
  std::size_t at = 0;
  for (;;) {
    const std::size_t start = word.find("${", at);
    const std::size_t end = word.find('}', start);
    if (start == std::string::npos || end == std::string::npos) break;
    out += word.substr(at, start - at);
    const std::string name = word.substr(start + 2, end - start - 2);
    const auto variable = variables_.find(name);
    if (variable != variables_.end()) {
      out += variable->second;
    } else if (name.size() > 2 && name[1] == '*') {
      out += std::string(std::stoul(name.substr(2)), name[0]);
    } else {
      throw Failure(line, "nothing was captured as " + name);
    }
    at = end + 1;
  }
  return out + word.substr(at);
}

void Runner::check_nothing_left() {
  for (auto& [name, connection] : connections_) {
    connection.client->receive(Milliseconds(0));
    for (const Received& received : connection.client->inbox()) {
      if (received.name == "heartbeat") continue;
      throw Failure(line_,
                    "left over at the end: " + received.to_text() + " of connection " + name);
    }
  }
}

void Runner::clean_up() {
  for (auto& [name, connection] : connections_) {
    if (connection.opened && !connection.client->closed()) {
      // Waiting for close-ok makes sure that exclusive queues are gone.
      send(connection, "connection.close", 0, {equal_to("reply-code", "200")});
      std::deque<Received>& inbox = connection.client->inbox();
      connection.client->await(Milliseconds(1000), false, [&] {
        return std::any_of(inbox.begin(), inbox.end(), [](const Received& received) {
          return received.name == "connection.close-ok";
        });
      });
    }
    connection.client->disconnect();
  }
  connections_.clear();
  if (queues_.empty() && exchanges_.empty()) return;
  for (const bool exchange : {false, true}) {
    for (const std::string& name : exchange ? exchanges_ : queues_) {
      if (name.empty()) continue;
      Step step;
      step.line = line_;
      step.repeated = true;
      step.verb = exchange ? "delete-exchange" : "delete";
      step.words = {to_language(Value::long_string(name))};
      try {
        perform(step);
      } catch (const Failure&) {
        // Predeclared, or still locked by a connection that is going away.
      }
    }
  }
  for (auto& [name, connection] : connections_)
    connection.client->disconnect();
  connections_.clear();
}

}  // namespace harrier::scenario
