#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace harrier {

// One address the broker accepts AMQP connections on.
struct ListenerAddress {
  std::string address;  // IPv4 or IPv6 in text form; empty means every interface, IPv4 and IPv6
  std::uint16_t port = 5672;

  friend bool operator==(const ListenerAddress&, const ListenerAddress&) = default;
};

// Socket options of accepted connections (tcp_listen_options.*).
struct TcpOptions {
  std::uint32_t backlog = 128;
  bool nodelay = true;
  bool keepalive = false;
  std::uint32_t sndbuf_bytes = 0;  // 0: the kernel chooses and grows it
  std::uint32_t recbuf_bytes = 0;
  // RabbitMQ differs: it lingers for 0 s, which throws away what the peer has not fetched yet.
  bool linger = false;         // linger.on
  std::uint32_t linger_s = 0;  // linger.timeout
};

// What the AMQP side of the broker is told at start. Read once by the listeners; a change needs a
// restart.
struct SessionConfig {
  std::vector<ListenerAddress> listeners{{"127.0.0.1", 5672}};
  TcpOptions tcp;

  // Proposed in connection.tune.
  std::uint16_t heartbeat_s = 60;     // 0: the broker asks for none
  std::uint16_t channel_max = 2047;   // channels open at once; 0: no limit
  std::uint32_t frame_max = 131'072;  // octets; 0: no limit

  // Largest frame before connection.tune-ok, when frame_max does not hold yet.
  std::uint32_t initial_frame_max = 8192;
  std::uint64_t max_message_bytes = 134'217'728;  // body octets of one message
  std::uint32_t handshake_timeout_ms = 10'000;    // from accept to connection.open
  // How long a delivery may stay unacknowledged where the queue says nothing else.
  std::uint32_t consumer_timeout_ms = 1'800'000;  // 0: for ever
  // What one transaction may hold of publishes until tx.commit; more closes the channel.
  std::uint32_t tx_messages_max = 100'000;
  std::uint64_t tx_bytes_max = 1'073'741'824;  // octets of bodies

  // Offered in connection.start, in this order.
  std::vector<std::string> auth_mechanisms{"PLAIN", "AMQPLAIN", "ANONYMOUS"};

  // Announced in connection.start.
  std::string product = "Harrier";
  std::string version = "0.0.0";  // load_config puts the version of this build here
  std::string cluster_name = "harrier";
};

}  // namespace harrier
