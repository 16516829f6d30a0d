#pragma once

// What the programs on rabbitmq-c share: patient connections, and confirms in a window. Ends the
// process where a rule is broken.
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

enum {
  kWindow = 1000,  // unconfirmed publishes of a connection
  kPatienceSeconds = 120
};

static const char* host;
static int port;

static inline void fail(const char* form, ...) {
  va_list arguments;
  va_start(arguments, form);
  flockfile(stderr);
  fputs("FAILED: ", stderr);
  vfprintf(stderr, form, arguments);
  fputc('\n', stderr);
  funlockfile(stderr);
  va_end(arguments);
  exit(1);
}

static inline double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline int rpc_ok(amqp_connection_state_t connection) {
  return amqp_get_rpc_reply(connection).reply_type == AMQP_RESPONSE_NORMAL;
}

static inline amqp_connection_state_t try_connect(void) {
  amqp_connection_state_t connection = amqp_new_connection();
  amqp_socket_t* socket = amqp_tcp_socket_new(connection);
  struct timeval patience = {10, 0};
  if (amqp_socket_open_noblock(socket, host, port, &patience) == AMQP_STATUS_OK &&
      amqp_login(connection, "/", 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN, "guest",
                 "guest")
              .reply_type == AMQP_RESPONSE_NORMAL) {
    amqp_channel_open(connection, 1);
    if (rpc_ok(connection)) return connection;
  }
  amqp_destroy_connection(connection);
  return NULL;
}

// With channel 1 open. The broker may be restarting; it has kPatienceSeconds.
static inline amqp_connection_state_t connect_patiently(void) {
  double end = seconds() + kPatienceSeconds;
  for (;;) {
    amqp_connection_state_t connection = try_connect();
    if (connection != NULL) return connection;
    if (seconds() > end) fail("no connection to the broker within %d s", kPatienceSeconds);
    poll(NULL, 0, 50);
  }
}

static inline void declare_durable(amqp_connection_state_t connection, const char* queue) {
  amqp_queue_declare(connection, 1, amqp_cstring_bytes(queue), 0, 1, 0, 0, amqp_empty_table);
  if (!rpc_ok(connection)) fail("cannot declare %s", queue);
}

static inline int publish_persistent(amqp_connection_state_t connection, const char* queue,
                                     amqp_bytes_t body) {
  amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
                                        .delivery_mode = AMQP_DELIVERY_PERSISTENT};
  return amqp_basic_publish(connection, 1, amqp_empty_bytes, amqp_cstring_bytes(queue), 0, 0,
                            &properties, body) == AMQP_STATUS_OK;
}

// The publishes of one channel in confirm mode.
typedef struct {
  uint64_t tags;           // so far
  uint64_t unsettled;      // of them, neither acked nor nacked
  unsigned char* settled;  // by tag, with room for all that will come
  void (*on_settled)(void* owner, uint64_t tag, int good);
  void* owner;
} Confirms;

static inline void settle(Confirms* confirms, uint64_t tag, int multiple, int good) {
  if (tag == 0 || tag > confirms->tags || confirms->settled[tag])
    fail("tag %" PRIu64 " confirmed twice or unknown", tag);
  for (uint64_t at = tag; at >= 1; --at) {
    if (!confirms->settled[at]) {
      confirms->settled[at] = 1;
      --confirms->unsettled;
      confirms->on_settled(confirms->owner, at, good);
    } else if (at != tag && confirms->tags - at > 4 * kWindow) {
      break;  // everything older is settled: the window is far smaller
    }
    if (!multiple) break;
  }
}

// Reads confirms until at most `allowed` are outstanding. 0 when the connection broke.
static inline int await_confirms(amqp_connection_state_t connection, Confirms* confirms,
                                 uint64_t allowed) {
  while (confirms->unsettled > allowed) {
    struct timeval deadline = {kPatienceSeconds, 0};
    amqp_frame_t frame;
    amqp_maybe_release_buffers(connection);
    int status = amqp_simple_wait_frame_noblock(connection, &frame, &deadline);
    if (status == AMQP_STATUS_TIMEOUT) fail("no confirm for %d s", kPatienceSeconds);
    if (status != AMQP_STATUS_OK || frame.frame_type != AMQP_FRAME_METHOD) return 0;
    if (frame.payload.method.id == AMQP_BASIC_ACK_METHOD) {
      const amqp_basic_ack_t* ack = frame.payload.method.decoded;
      settle(confirms, ack->delivery_tag, ack->multiple, 1);
    } else if (frame.payload.method.id == AMQP_BASIC_NACK_METHOD) {
      const amqp_basic_nack_t* nack = frame.payload.method.decoded;
      settle(confirms, nack->delivery_tag, nack->multiple, 0);
    } else {
      return 0;  // connection.close: the broker is stopping
    }
  }
  return 1;
}
