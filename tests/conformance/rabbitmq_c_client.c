// A client as C programs write it with rabbitmq-c: login, declare, publish with confirms, consume,
// ack, close. rabbitmq_c_client HOST PORT COUNT. Prints one line per step and ends with "done"; any
// surprise ends it with status 1.
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static void fail(const char* form, ...) {
  va_list arguments;
  va_start(arguments, form);
  fputs("FAILED: ", stderr);
  vfprintf(stderr, form, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

static void check_reply(amqp_rpc_reply_t reply, const char* what) {
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return;
  if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
    fail("%s: %s", what, amqp_error_string2(reply.library_error));
  fail("%s: the broker closed with method %08x", what, reply.reply.id);
}

static void check(int status, const char* what) {
  if (status != AMQP_STATUS_OK) fail("%s: %s", what, amqp_error_string2(status));
}

static amqp_connection_state_t log_in(const char* host, int port, const char* password,
                                      amqp_rpc_reply_t* reply) {
  amqp_connection_state_t connection = amqp_new_connection();
  amqp_socket_t* socket = amqp_tcp_socket_new(connection);
  if (socket == NULL) fail("no socket");
  check(amqp_socket_open(socket, host, port), "open a socket");
  *reply = amqp_login(connection, "/", AMQP_DEFAULT_MAX_CHANNELS, AMQP_DEFAULT_FRAME_SIZE, 10,
                      AMQP_SASL_METHOD_PLAIN, "guest", password);
  return connection;
}

// A wrong password must be answered with connection.close 403.
static void refuse_wrong_password(const char* host, int port) {
  amqp_rpc_reply_t reply;
  amqp_connection_state_t connection = log_in(host, port, "wrong", &reply);
  if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION ||
      reply.reply.id != AMQP_CONNECTION_CLOSE_METHOD) {
    fail("a wrong password was answered with reply type %d", reply.reply_type);
  }
  const amqp_connection_close_t* close = reply.reply.decoded;
  printf("refused %d\n", close->reply_code);
  amqp_destroy_connection(connection);
}

static amqp_bytes_t declare(amqp_connection_state_t connection) {
  amqp_queue_declare_ok_t* ok =
      amqp_queue_declare(connection, 1, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
  check_reply(amqp_get_rpc_reply(connection), "queue.declare");
  amqp_bytes_t queue = amqp_bytes_malloc_dup(ok->queue);
  printf("declared %.*s\n", (int)queue.len, (char*)queue.bytes);
  amqp_exchange_declare(connection, 1, amqp_cstring_bytes("conformance.rabbitmq-c"),
                        amqp_cstring_bytes("topic"), 0, 0, 1, 0, amqp_empty_table);
  check_reply(amqp_get_rpc_reply(connection), "exchange.declare");
  amqp_queue_bind(connection, 1, queue, amqp_cstring_bytes("conformance.rabbitmq-c"),
                  amqp_cstring_bytes("number.#"), amqp_empty_table);
  check_reply(amqp_get_rpc_reply(connection), "queue.bind");
  return queue;
}

static void await_confirms(amqp_connection_state_t connection, uint64_t count) {
  char* confirmed = calloc(count + 1, 1);
  for (uint64_t missing = count; missing > 0;) {
    struct timeval deadline = {20, 0};
    amqp_frame_t frame;
    check(amqp_simple_wait_frame_noblock(connection, &frame, &deadline), "wait for a confirm");
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD) {
      fail("expected basic.ack, got frame type %d method %08x", frame.frame_type,
           frame.payload.method.id);
    }
    const amqp_basic_ack_t* ack = frame.payload.method.decoded;
    if (ack->delivery_tag < 1 || ack->delivery_tag > count || confirmed[ack->delivery_tag]) {
      fail("tag %lu is unknown or was confirmed before", (unsigned long)ack->delivery_tag);
    }
    // Acks may come out of order; a multiple one covers everything up to its tag.
    for (uint64_t tag = ack->multiple ? 1 : ack->delivery_tag; tag <= ack->delivery_tag; ++tag) {
      if (!confirmed[tag]) --missing;
      confirmed[tag] = 1;
    }
  }
  free(confirmed);
  printf("confirmed %lu\n", (unsigned long)count);
}

static void publish_with_confirms(amqp_connection_state_t connection, int count) {
  amqp_confirm_select(connection, 1);
  check_reply(amqp_get_rpc_reply(connection), "confirm.select");
  amqp_basic_properties_t properties = {0};
  properties._flags =
      AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG;
  properties.content_type = amqp_cstring_bytes("text/plain");
  properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
  for (int number = 0; number < count; ++number) {
    char text[32];
    snprintf(text, sizeof text, "%d", number);
    properties.message_id = amqp_cstring_bytes(text);
    check(amqp_basic_publish(connection, 1, amqp_cstring_bytes("conformance.rabbitmq-c"),
                             amqp_cstring_bytes("number.one"), 0, 0, &properties,
                             amqp_cstring_bytes(text)),
          "basic.publish");
  }
}

static void consume_in_order(amqp_connection_state_t connection, amqp_bytes_t queue, int count) {
  amqp_basic_qos(connection, 1, 0, 20, 0);
  check_reply(amqp_get_rpc_reply(connection), "basic.qos");
  amqp_basic_consume(connection, 1, queue, amqp_cstring_bytes("c-consumer"), 0, 0, 0,
                     amqp_empty_table);
  check_reply(amqp_get_rpc_reply(connection), "basic.consume");
  for (int number = 0; number < count; ++number) {
    amqp_envelope_t envelope;
    struct timeval deadline = {20, 0};
    check_reply(amqp_consume_message(connection, &envelope, &deadline, 0), "a delivery");
    char body[32] = {0};
    memcpy(body, envelope.message.body.bytes,
           envelope.message.body.len < 31 ? envelope.message.body.len : 31);
    if (atoi(body) != number || envelope.redelivered ||
        envelope.delivery_tag != (uint64_t)number + 1) {
      fail("expected number %d, got body %s, tag %lu", number, body,
           (unsigned long)envelope.delivery_tag);
    }
    if (envelope.message.properties.message_id.len != strlen(body))
      fail("the message id of %s changed", body);
    check(amqp_basic_ack(connection, 1, envelope.delivery_tag, 0), "basic.ack");
    amqp_destroy_envelope(&envelope);
  }
  printf("consumed %d\n", count);
  amqp_basic_cancel(connection, 1,
                    amqp_cstring_bytes("c-consumer"));  // the auto-delete queue goes with it
  check_reply(amqp_get_rpc_reply(connection), "basic.cancel");
}

// The channel error arrives with its code; the connection stays usable.
static void provoke_channel_error(amqp_connection_state_t connection) {
  amqp_channel_open(connection, 2);
  check_reply(amqp_get_rpc_reply(connection), "channel.open");
  amqp_queue_declare(connection, 2, amqp_cstring_bytes("conformance.never-declared"), 1, 0, 0, 0,
                     amqp_empty_table);
  amqp_rpc_reply_t reply = amqp_get_rpc_reply(connection);
  if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION ||
      reply.reply.id != AMQP_CHANNEL_CLOSE_METHOD) {
    fail("a passive declare of a missing queue was not refused");
  }
  const amqp_channel_close_t* close = reply.reply.decoded;
  printf("channel closed %d %d,%d\n", close->reply_code, close->class_id, close->method_id);
  amqp_channel_close_ok_t close_ok;
  check(amqp_send_method(connection, 2, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok),
        "channel.close-ok");
  amqp_channel_open(connection, 2);
  check_reply(amqp_get_rpc_reply(connection), "channel.open of the same number");
}

int main(int argument_count, char** arguments) {
  if (argument_count != 4) fail("usage: %s HOST PORT COUNT", arguments[0]);
  const char* host = arguments[1];
  int port = atoi(arguments[2]);
  int count = atoi(arguments[3]);

  refuse_wrong_password(host, port);
  amqp_rpc_reply_t reply;
  amqp_connection_state_t connection = log_in(host, port, "guest", &reply);
  check_reply(reply, "login");
  amqp_channel_open(connection, 1);
  check_reply(amqp_get_rpc_reply(connection), "channel.open");
  amqp_bytes_t queue = declare(connection);
  publish_with_confirms(connection, count);
  await_confirms(connection, (uint64_t)count);
  consume_in_order(connection, queue, count);
  provoke_channel_error(connection);
  check_reply(amqp_channel_close(connection, 1, AMQP_REPLY_SUCCESS), "channel.close");
  check_reply(amqp_connection_close(connection, AMQP_REPLY_SUCCESS), "connection.close");
  check(amqp_destroy_connection(connection), "destroy");
  amqp_bytes_free(queue);
  puts("done");
  return 0;
}
