#include "broker/session/handshake.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "broker/runtime/broker.h"
#include "broker/session/session_events.h"
#include "protocol/field_table.h"
#include "protocol/method_codec.h"
#include "protocol/sasl.h"

namespace harrier {
namespace {

constexpr Logger kLog("connection");

// RabbitMQ 4.1 wants 8192; older clients of some libraries still ask for 4096.
constexpr std::uint32_t kFrameMaxMin = 4096;

FieldTable capabilities() {
  FieldTable table;
  for (const char* name : {"publisher_confirms", "exchange_exchange_bindings", "basic.nack",
                           "consumer_cancel_notify", "connection.blocked", "consumer_priorities",
                           "authentication_failure_close", "per_consumer_qos", "direct_reply_to"}) {
    table.set(name, Value::boolean(true));
  }
  return table;
}

// The properties RabbitMQ announces, in its order; clients look at product, version and
// capabilities.
FieldTable server_properties(const SessionConfig& config) {
  FieldTable table;
  table.set("capabilities", Value::table(capabilities()));
  table.set("cluster_name", Value::long_string(config.cluster_name));
  table.set("copyright", Value::long_string("The Harrier founders"));
  table.set("information", Value::long_string("AMQP 0-9-1 message broker"));
  table.set("platform", Value::long_string("C++20"));
  table.set("product", Value::long_string(config.product));
  table.set("version", Value::long_string(config.version));
  return table;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ' ';
    text += word;
  }
  return text;
}

bool has_capability(const TableView& client_properties, std::string_view name) {
  const auto found = client_properties.find("capabilities");
  const auto table = found ? as_table(*found) : std::nullopt;
  const auto value = table ? table->find(name) : std::nullopt;
  return value && as_bool(*value).value_or(false);
}

// Why `asked` of tune-ok cannot be, empty when it can. 0 stands for "no limit" on both sides.
std::string tune_refusal(const char* what, std::uint32_t asked, std::uint32_t lowest,
                         std::uint32_t highest) {
  if (asked != 0 && asked < lowest) {
    return fmt::format("negotiated {} = {} is lower than the minimum allowed value ({})", what,
                       asked, lowest);
  }
  if (highest == 0 || (asked != 0 && asked <= highest)) return {};
  return fmt::format("negotiated {} = {} is higher than the maximum allowed value ({})", what,
                     asked == 0 ? "0 (no limit)" : std::to_string(asked), highest);
}

}  // namespace

void Connection::send_start() {
  const FieldTable properties = server_properties(sessions_.config());
  Buffer encoded;
  properties.encode_fields(encoded);
  const std::string mechanisms = joined(sessions_.config().auth_mechanisms);
  ConnectionStart start;
  start.version_major = 0;
  start.version_minor = 9;
  start.server_properties = TableView{encoded.view()};
  start.mechanisms = mechanisms;
  start.locales = "en_US";
  send(0, start);
  state_ = State::start_ok;
}

void Connection::on_connection_method(ByteView payload) {
  ConnectionMethods methods{*this};
  const DecodeStatus status =
      visit_method(payload, [&](const auto& method) { methods.on(method); });
  if (status != DecodeStatus::ok) close(decode_error(status, payload), peek_method_id(payload));
}

void ConnectionMethods::on(const ConnectionStartOk& method) {
  Connection& c = connection;
  if (c.state_ != Connection::State::start_ok) return refuse(ConnectionStartOk::kId);
  c.wants_cancel_notify_ = has_capability(method.client_properties, "consumer_cancel_notify");
  c.wants_failure_close_ = has_capability(method.client_properties, "authentication_failure_close");
  c.wants_blocked_ = has_capability(method.client_properties, "connection.blocked");
  if (const auto name = method.client_properties.find("connection_name")) {
    c.client_name_ = as_string(*name).value_or("");
  }

  const SessionConfig& config = c.sessions_.config();
  const auto& enabled = config.auth_mechanisms;
  if (std::find(enabled.begin(), enabled.end(), method.mechanism) == enabled.end()) {
    return c.end_mute(fmt::format("unknown authentication mechanism '{}'", method.mechanism));
  }
  const PeerInfo peer{c.peer_.loopback};
  AuthenticationResult result;
  std::string user;
  if (method.mechanism == "ANONYMOUS") {
    result = c.sessions_.access().authenticate_anonymous(peer);
  } else {
    const auto credentials = method.mechanism == "PLAIN" ? parse_plain(method.response)
                                                         : parse_amqplain(method.response);
    if (!credentials) {
      return c.end_mute(fmt::format("malformed {} response", method.mechanism));
    }
    user = credentials->user;
    result = c.sessions_.access().authenticate(credentials->user, credentials->password, peer);
  }
  if (!result) return authentication_failed(method.mechanism, user, result.error().reason);
  c.user_ = std::move(*result);
  announce_login(c, c.user_->name, method.mechanism, "");

  ConnectionTune tune;
  tune.channel_max = config.channel_max;
  tune.frame_max = config.frame_max;
  tune.heartbeat = config.heartbeat_s;
  c.send(0, tune);
  c.state_ = Connection::State::tune_ok;
}

void ConnectionMethods::authentication_failed(std::string_view mechanism, std::string_view user,
                                              std::string_view reason) {
  Connection& c = connection;
  announce_login(c, user, mechanism, reason);
  kLog.error("{}: login of '{}' by {} was refused: {}", c.peer_.name, user, mechanism, reason);
  if (c.wants_failure_close_) {
    c.send_close({ReplyCode::access_refused,
                  fmt::format("Login was refused using authentication mechanism {}. For details "
                              "see the broker logfile.",
                              mechanism),
                  MethodId{}},
                 MethodId{});
    c.state_ = Connection::State::closing;  // an early close-ok ends it before the deadline
    c.deadline_ = c.shard().now() + Connection::kMuteFor;
  } else {
    c.end_mute("login failed");
  }
}

void ConnectionMethods::on(const ConnectionTuneOk& method) {
  Connection& c = connection;
  if (c.state_ != Connection::State::tune_ok) return refuse(ConnectionTuneOk::kId);
  const SessionConfig& config = c.sessions_.config();
  std::string refusal = tune_refusal("frame_max", method.frame_max, kFrameMaxMin, config.frame_max);
  if (refusal.empty()) {
    refusal = tune_refusal("channel_max", method.channel_max, 1, config.channel_max);
  }
  if (!refusal.empty()) return c.end_mute(refusal);
  c.frame_max_ = method.frame_max;
  c.channel_max_ = method.channel_max;
  c.heartbeat_s_ = method.heartbeat;
  c.state_ = Connection::State::open;
}

void ConnectionMethods::on(const ConnectionOpen& method) {
  Connection& c = connection;
  if (c.state_ != Connection::State::open) return refuse(ConnectionOpen::kId);
  c.vhost_ = c.shard().find_vhost(method.virtual_host);
  if (c.vhost_ == nullptr) {
    return c.close({ReplyCode::not_allowed, fmt::format("vhost {} not found", method.virtual_host)},
                   ConnectionOpen::kId);
  }
  // RabbitMQ looks at the limits before it looks at the permission.
  c.pause();
  c.shard().broker().control().admit_connection(
      c.shard(), c.vhost_->name(), c.user_->name,
      [&c](Result<ConnectionPermit, ProtocolError> permit) {
        if (c.state_ == Connection::State::open && !c.lost_) {
          ConnectionMethods{c}.admitted(std::move(permit));
        }
        c.resume();
      });
}

void ConnectionMethods::admitted(Result<ConnectionPermit, ProtocolError> permit) {
  Connection& c = connection;
  if (!permit) return c.close(permit.error(), ConnectionOpen::kId);
  if (!c.sessions_.access().may_access_vhost(*c.user_, c.vhost_->name())) {
    return c.close(
        {ReplyCode::not_allowed, fmt::format("access to vhost '{}' refused for user '{}'",
                                             c.vhost_->name(), c.user_->name)},
        ConnectionOpen::kId);
  }
  c.permit_ = std::move(*permit);
  c.send(0, ConnectionOpenOk{});
  c.state_ = Connection::State::running;
  c.opened_ = true;
  announce_opened(c);
  c.deadline_ = kNoTime;
  const Timestamp now = c.shard().now();
  c.next_receive_check_ = now + Milliseconds(std::int64_t{c.heartbeat_s_} * 1000);
  kLog.info("connection {}{}{}: user '{}' authenticated and granted access to vhost '{}'",
            c.peer_.name, c.client_name_.empty() ? "" : " - ", c.client_name_, c.user_->name,
            c.vhost_->name());
}

void ConnectionMethods::on(const ConnectionClose&) {
  Connection& c = connection;
  if (c.state_ < Connection::State::open) return refuse(ConnectionClose::kId);
  c.state_ = Connection::State::closed;
  // RabbitMQ sends close-ok only after the unacknowledged are back and exclusive queues are gone.
  c.release_all([&c] {
    if (c.lost_) return;
    c.send(0, ConnectionCloseOk{});
    c.deadline_ = c.shard().now() + Connection::kCloseTimeout;
  });
}

void ConnectionMethods::on(const ConnectionUpdateSecret&) {
  if (connection.state_ != Connection::State::running) {
    return refuse(ConnectionUpdateSecret::kId);
  }
  connection.send(0, ConnectionUpdateSecretOk{});
}

void ConnectionMethods::refuse(MethodId method) {
  connection.close({ReplyCode::channel_error, "unexpected method in connection state running"},
                   method);
}

}  // namespace harrier
