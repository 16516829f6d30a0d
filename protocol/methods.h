#pragma once

#include <cstdint>
#include <string_view>

#include "protocol/field_table.h"
#include "protocol/method_id.h"

// Every method of AMQP 0-9-1 and of RabbitMQ's extensions, in the order of the specification, with
// the arguments under their names there. A struct is what a METHOD frame's payload says; its
// fields() is the one list from which decoding, encoding, size and trace follow, checked against
// the specification by scripts/check_methods.py.
//
// Decoded methods borrow from the frame: strings and tables are valid until it is consumed.

namespace harrier {

enum class Sender : std::uint8_t {
  client,
  server,
  both,
};

// Identity of a method; `sender` is who may send it. A content method is followed by a content
// header and body frames.
#define AMQP_METHOD(class_index, method_index, name, sender) \
  static constexpr MethodId kId{class_index, method_index};  \
  static constexpr const char* kName = name;                 \
  static constexpr Sender kSender = Sender::sender;          \
  static constexpr bool kHasContent = false
#define AMQP_CONTENT_METHOD(class_index, method_index, name, sender) \
  static constexpr MethodId kId{class_index, method_index};          \
  static constexpr const char* kName = name;                         \
  static constexpr Sender kSender = Sender::sender;                  \
  static constexpr bool kHasContent = true

// Arguments in wire order, handed to the visitor with their names. Consecutive bits share octets,
// so they are named together; long strings look like short ones in C++ and are told apart here.
#define AMQP_FIELDS(...) v(#__VA_ARGS__, __VA_ARGS__)
#define AMQP_BITS(...) v.bits(#__VA_ARGS__, __VA_ARGS__)
#define AMQP_LONGSTR(...) v.longstr(#__VA_ARGS__, __VA_ARGS__)

struct ConnectionStart {
  AMQP_METHOD(10, 10, "connection.start", server);
  std::uint8_t version_major = 0;
  std::uint8_t version_minor = 0;
  TableView server_properties{};
  std::string_view mechanisms{};
  std::string_view locales{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(version_major, version_minor, server_properties);
    AMQP_LONGSTR(mechanisms, locales);
  }
};

struct ConnectionStartOk {
  AMQP_METHOD(10, 11, "connection.start-ok", client);
  TableView client_properties{};
  std::string_view mechanism{};
  std::string_view response{};
  std::string_view locale{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(client_properties, mechanism);
    AMQP_LONGSTR(response);
    AMQP_FIELDS(locale);
  }
};

struct ConnectionSecure {
  AMQP_METHOD(10, 20, "connection.secure", server);
  std::string_view challenge{};

  template <class V>
  void fields(V&& v) {
    AMQP_LONGSTR(challenge);
  }
};

struct ConnectionSecureOk {
  AMQP_METHOD(10, 21, "connection.secure-ok", client);
  std::string_view response{};

  template <class V>
  void fields(V&& v) {
    AMQP_LONGSTR(response);
  }
};

struct ConnectionTune {
  AMQP_METHOD(10, 30, "connection.tune", server);
  std::uint16_t channel_max = 0;
  std::uint32_t frame_max = 0;
  std::uint16_t heartbeat = 0;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(channel_max, frame_max, heartbeat);
  }
};

struct ConnectionTuneOk {
  AMQP_METHOD(10, 31, "connection.tune-ok", client);
  std::uint16_t channel_max = 0;
  std::uint32_t frame_max = 0;
  std::uint16_t heartbeat = 0;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(channel_max, frame_max, heartbeat);
  }
};

struct ConnectionOpen {
  AMQP_METHOD(10, 40, "connection.open", client);
  std::string_view virtual_host{};
  std::string_view reserved_1{};
  bool reserved_2 = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(virtual_host, reserved_1);
    AMQP_BITS(reserved_2);
  }
};

struct ConnectionOpenOk {
  AMQP_METHOD(10, 41, "connection.open-ok", server);
  std::string_view reserved_1{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1);
  }
};

struct ConnectionClose {
  AMQP_METHOD(10, 50, "connection.close", both);
  std::uint16_t reply_code = 0;
  std::string_view reply_text{};
  std::uint16_t class_id = 0;
  std::uint16_t method_id = 0;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reply_code, reply_text, class_id, method_id);
  }
};

struct ConnectionCloseOk {
  AMQP_METHOD(10, 51, "connection.close-ok", both);

  template <class V>
  void fields(V&&) {}
};

struct ConnectionBlocked {
  AMQP_METHOD(10, 60, "connection.blocked", both);
  std::string_view reason{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reason);
  }
};

struct ConnectionUnblocked {
  AMQP_METHOD(10, 61, "connection.unblocked", both);

  template <class V>
  void fields(V&&) {}
};

struct ConnectionUpdateSecret {
  AMQP_METHOD(10, 70, "connection.update-secret", client);
  std::string_view new_secret{};
  std::string_view reason{};

  template <class V>
  void fields(V&& v) {
    AMQP_LONGSTR(new_secret);
    AMQP_FIELDS(reason);
  }
};

struct ConnectionUpdateSecretOk {
  AMQP_METHOD(10, 71, "connection.update-secret-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct ChannelOpen {
  AMQP_METHOD(20, 10, "channel.open", client);
  std::string_view reserved_1{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1);
  }
};

struct ChannelOpenOk {
  AMQP_METHOD(20, 11, "channel.open-ok", server);
  std::string_view reserved_1{};

  template <class V>
  void fields(V&& v) {
    AMQP_LONGSTR(reserved_1);
  }
};

struct ChannelFlow {
  AMQP_METHOD(20, 20, "channel.flow", both);
  bool active = false;

  template <class V>
  void fields(V&& v) {
    AMQP_BITS(active);
  }
};

struct ChannelFlowOk {
  AMQP_METHOD(20, 21, "channel.flow-ok", both);
  bool active = false;

  template <class V>
  void fields(V&& v) {
    AMQP_BITS(active);
  }
};

struct ChannelClose {
  AMQP_METHOD(20, 40, "channel.close", both);
  std::uint16_t reply_code = 0;
  std::string_view reply_text{};
  std::uint16_t class_id = 0;
  std::uint16_t method_id = 0;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reply_code, reply_text, class_id, method_id);
  }
};

struct ChannelCloseOk {
  AMQP_METHOD(20, 41, "channel.close-ok", both);

  template <class V>
  void fields(V&&) {}
};

// Class access is gone from AMQP 0-9-1, yet some clients still ask; RabbitMQ answers.

struct AccessRequest {
  AMQP_METHOD(30, 10, "access.request", client);
  std::string_view realm{};
  bool exclusive = false;
  bool passive = false;
  bool active = false;
  bool write = false;
  bool read = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(realm);
    AMQP_BITS(exclusive, passive, active, write, read);
  }
};

struct AccessRequestOk {
  AMQP_METHOD(30, 11, "access.request-ok", server);
  std::uint16_t ticket = 0;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(ticket);
  }
};

struct ExchangeDeclare {
  AMQP_METHOD(40, 10, "exchange.declare", client);
  std::uint16_t reserved_1 = 0;
  std::string_view exchange{};
  std::string_view type{};
  bool passive = false;
  bool durable = false;
  bool auto_delete = false;
  bool internal = false;
  bool no_wait = false;
  TableView arguments{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, exchange, type);
    AMQP_BITS(passive, durable, auto_delete, internal, no_wait);
    AMQP_FIELDS(arguments);
  }
};

struct ExchangeDeclareOk {
  AMQP_METHOD(40, 11, "exchange.declare-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct ExchangeDelete {
  AMQP_METHOD(40, 20, "exchange.delete", client);
  std::uint16_t reserved_1 = 0;
  std::string_view exchange{};
  bool if_unused = false;
  bool no_wait = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, exchange);
    AMQP_BITS(if_unused, no_wait);
  }
};

struct ExchangeDeleteOk {
  AMQP_METHOD(40, 21, "exchange.delete-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct ExchangeBind {
  AMQP_METHOD(40, 30, "exchange.bind", client);
  std::uint16_t reserved_1 = 0;
  std::string_view destination{};
  std::string_view source{};
  std::string_view routing_key{};
  bool no_wait = false;
  TableView arguments{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, destination, source, routing_key);
    AMQP_BITS(no_wait);
    AMQP_FIELDS(arguments);
  }
};

struct ExchangeBindOk {
  AMQP_METHOD(40, 31, "exchange.bind-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct ExchangeUnbind {
  AMQP_METHOD(40, 40, "exchange.unbind", client);
  std::uint16_t reserved_1 = 0;
  std::string_view destination{};
  std::string_view source{};
  std::string_view routing_key{};
  bool no_wait = false;
  TableView arguments{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, destination, source, routing_key);
    AMQP_BITS(no_wait);
    AMQP_FIELDS(arguments);
  }
};

struct ExchangeUnbindOk {
  AMQP_METHOD(40, 51, "exchange.unbind-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct QueueDeclare {
  AMQP_METHOD(50, 10, "queue.declare", client);
  std::uint16_t reserved_1 = 0;
  std::string_view queue{};
  bool passive = false;
  bool durable = false;
  bool exclusive = false;
  bool auto_delete = false;
  bool no_wait = false;
  TableView arguments{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, queue);
    AMQP_BITS(passive, durable, exclusive, auto_delete, no_wait);
    AMQP_FIELDS(arguments);
  }
};

struct QueueDeclareOk {
  AMQP_METHOD(50, 11, "queue.declare-ok", server);
  std::string_view queue{};
  std::uint32_t message_count = 0;
  std::uint32_t consumer_count = 0;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(queue, message_count, consumer_count);
  }
};

struct QueueBind {
  AMQP_METHOD(50, 20, "queue.bind", client);
  std::uint16_t reserved_1 = 0;
  std::string_view queue{};
  std::string_view exchange{};
  std::string_view routing_key{};
  bool no_wait = false;
  TableView arguments{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, queue, exchange, routing_key);
    AMQP_BITS(no_wait);
    AMQP_FIELDS(arguments);
  }
};

struct QueueBindOk {
  AMQP_METHOD(50, 21, "queue.bind-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct QueueUnbind {
  AMQP_METHOD(50, 50, "queue.unbind", client);
  std::uint16_t reserved_1 = 0;
  std::string_view queue{};
  std::string_view exchange{};
  std::string_view routing_key{};
  TableView arguments{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, queue, exchange, routing_key, arguments);
  }
};

struct QueueUnbindOk {
  AMQP_METHOD(50, 51, "queue.unbind-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct QueuePurge {
  AMQP_METHOD(50, 30, "queue.purge", client);
  std::uint16_t reserved_1 = 0;
  std::string_view queue{};
  bool no_wait = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, queue);
    AMQP_BITS(no_wait);
  }
};

struct QueuePurgeOk {
  AMQP_METHOD(50, 31, "queue.purge-ok", server);
  std::uint32_t message_count = 0;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(message_count);
  }
};

struct QueueDelete {
  AMQP_METHOD(50, 40, "queue.delete", client);
  std::uint16_t reserved_1 = 0;
  std::string_view queue{};
  bool if_unused = false;
  bool if_empty = false;
  bool no_wait = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, queue);
    AMQP_BITS(if_unused, if_empty, no_wait);
  }
};

struct QueueDeleteOk {
  AMQP_METHOD(50, 41, "queue.delete-ok", server);
  std::uint32_t message_count = 0;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(message_count);
  }
};

struct BasicQos {
  AMQP_METHOD(60, 10, "basic.qos", client);
  std::uint32_t prefetch_size = 0;
  std::uint16_t prefetch_count = 0;
  bool global = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(prefetch_size, prefetch_count);
    AMQP_BITS(global);
  }
};

struct BasicQosOk {
  AMQP_METHOD(60, 11, "basic.qos-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct BasicConsume {
  AMQP_METHOD(60, 20, "basic.consume", client);
  std::uint16_t reserved_1 = 0;
  std::string_view queue{};
  std::string_view consumer_tag{};
  bool no_local = false;
  bool no_ack = false;
  bool exclusive = false;
  bool no_wait = false;
  TableView arguments{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, queue, consumer_tag);
    AMQP_BITS(no_local, no_ack, exclusive, no_wait);
    AMQP_FIELDS(arguments);
  }
};

struct BasicConsumeOk {
  AMQP_METHOD(60, 21, "basic.consume-ok", server);
  std::string_view consumer_tag{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(consumer_tag);
  }
};

struct BasicCancel {
  AMQP_METHOD(60, 30, "basic.cancel", both);
  std::string_view consumer_tag{};
  bool no_wait = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(consumer_tag);
    AMQP_BITS(no_wait);
  }
};

struct BasicCancelOk {
  AMQP_METHOD(60, 31, "basic.cancel-ok", both);
  std::string_view consumer_tag{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(consumer_tag);
  }
};

struct BasicPublish {
  AMQP_CONTENT_METHOD(60, 40, "basic.publish", client);
  std::uint16_t reserved_1 = 0;
  std::string_view exchange{};
  std::string_view routing_key{};
  bool mandatory = false;
  bool immediate = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, exchange, routing_key);
    AMQP_BITS(mandatory, immediate);
  }
};

struct BasicReturn {
  AMQP_CONTENT_METHOD(60, 50, "basic.return", server);
  std::uint16_t reply_code = 0;
  std::string_view reply_text{};
  std::string_view exchange{};
  std::string_view routing_key{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reply_code, reply_text, exchange, routing_key);
  }
};

struct BasicDeliver {
  AMQP_CONTENT_METHOD(60, 60, "basic.deliver", server);
  std::string_view consumer_tag{};
  std::uint64_t delivery_tag = 0;
  bool redelivered = false;
  std::string_view exchange{};
  std::string_view routing_key{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(consumer_tag, delivery_tag);
    AMQP_BITS(redelivered);
    AMQP_FIELDS(exchange, routing_key);
  }
};

struct BasicGet {
  AMQP_METHOD(60, 70, "basic.get", client);
  std::uint16_t reserved_1 = 0;
  std::string_view queue{};
  bool no_ack = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1, queue);
    AMQP_BITS(no_ack);
  }
};

struct BasicGetOk {
  AMQP_CONTENT_METHOD(60, 71, "basic.get-ok", server);
  std::uint64_t delivery_tag = 0;
  bool redelivered = false;
  std::string_view exchange{};
  std::string_view routing_key{};
  std::uint32_t message_count = 0;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(delivery_tag);
    AMQP_BITS(redelivered);
    AMQP_FIELDS(exchange, routing_key, message_count);
  }
};

struct BasicGetEmpty {
  AMQP_METHOD(60, 72, "basic.get-empty", server);
  std::string_view reserved_1{};

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(reserved_1);
  }
};

struct BasicAck {
  AMQP_METHOD(60, 80, "basic.ack", both);
  std::uint64_t delivery_tag = 0;
  bool multiple = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(delivery_tag);
    AMQP_BITS(multiple);
  }
};

struct BasicReject {
  AMQP_METHOD(60, 90, "basic.reject", client);
  std::uint64_t delivery_tag = 0;
  bool requeue = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(delivery_tag);
    AMQP_BITS(requeue);
  }
};

struct BasicRecoverAsync {
  AMQP_METHOD(60, 100, "basic.recover-async", client);
  bool requeue = false;

  template <class V>
  void fields(V&& v) {
    AMQP_BITS(requeue);
  }
};

struct BasicRecover {
  AMQP_METHOD(60, 110, "basic.recover", client);
  bool requeue = false;

  template <class V>
  void fields(V&& v) {
    AMQP_BITS(requeue);
  }
};

struct BasicRecoverOk {
  AMQP_METHOD(60, 111, "basic.recover-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct BasicNack {
  AMQP_METHOD(60, 120, "basic.nack", both);
  std::uint64_t delivery_tag = 0;
  bool multiple = false;
  bool requeue = false;

  template <class V>
  void fields(V&& v) {
    AMQP_FIELDS(delivery_tag);
    AMQP_BITS(multiple, requeue);
  }
};

struct TxSelect {
  AMQP_METHOD(90, 10, "tx.select", client);

  template <class V>
  void fields(V&&) {}
};

struct TxSelectOk {
  AMQP_METHOD(90, 11, "tx.select-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct TxCommit {
  AMQP_METHOD(90, 20, "tx.commit", client);

  template <class V>
  void fields(V&&) {}
};

struct TxCommitOk {
  AMQP_METHOD(90, 21, "tx.commit-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct TxRollback {
  AMQP_METHOD(90, 30, "tx.rollback", client);

  template <class V>
  void fields(V&&) {}
};

struct TxRollbackOk {
  AMQP_METHOD(90, 31, "tx.rollback-ok", server);

  template <class V>
  void fields(V&&) {}
};

struct ConfirmSelect {
  AMQP_METHOD(85, 10, "confirm.select", client);
  bool no_wait = false;

  template <class V>
  void fields(V&& v) {
    AMQP_BITS(no_wait);
  }
};

struct ConfirmSelectOk {
  AMQP_METHOD(85, 11, "confirm.select-ok", server);

  template <class V>
  void fields(V&&) {}
};

template <class... M>
struct MethodList {};

using AllMethods = MethodList<
    ConnectionStart, ConnectionStartOk, ConnectionSecure, ConnectionSecureOk, ConnectionTune,
    ConnectionTuneOk, ConnectionOpen, ConnectionOpenOk, ConnectionClose, ConnectionCloseOk,
    ConnectionBlocked, ConnectionUnblocked, ConnectionUpdateSecret, ConnectionUpdateSecretOk,
    ChannelOpen, ChannelOpenOk, ChannelFlow, ChannelFlowOk, ChannelClose, ChannelCloseOk,
    AccessRequest, AccessRequestOk, ExchangeDeclare, ExchangeDeclareOk, ExchangeDelete,
    ExchangeDeleteOk, ExchangeBind, ExchangeBindOk, ExchangeUnbind, ExchangeUnbindOk, QueueDeclare,
    QueueDeclareOk, QueueBind, QueueBindOk, QueueUnbind, QueueUnbindOk, QueuePurge, QueuePurgeOk,
    QueueDelete, QueueDeleteOk, BasicQos, BasicQosOk, BasicConsume, BasicConsumeOk, BasicCancel,
    BasicCancelOk, BasicPublish, BasicReturn, BasicDeliver, BasicGet, BasicGetOk, BasicGetEmpty,
    BasicAck, BasicReject, BasicRecoverAsync, BasicRecover, BasicRecoverOk, BasicNack, TxSelect,
    TxSelectOk, TxCommit, TxCommitOk, TxRollback, TxRollbackOk, ConfirmSelect, ConfirmSelectOk>;

#undef AMQP_METHOD
#undef AMQP_CONTENT_METHOD
#undef AMQP_FIELDS
#undef AMQP_BITS
#undef AMQP_LONGSTR

}  // namespace harrier
