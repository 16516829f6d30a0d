// Fills durable queues with persistent messages, or empties them, as fast as the broker lets it:
//
//   backlog HOST PORT declare QUEUES
//   backlog HOST PORT fill QUEUES MESSAGES CONNECTIONS
//   backlog HOST PORT drain QUEUES MESSAGES CONNECTIONS
//
// Messages go round the queues, kWindow of each connection unconfirmed. Draining ends when so many
// were delivered; every queue has a consumer, every connection at least one. Prints the seconds.
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "rabbitmq_support.h"

enum {
  kBodyBytes = 1024,
  kAckEvery = 100,
  kConnectionsMax = 64
};

typedef struct {
  pthread_t thread;
  uint64_t index;
} Worker;

static uint64_t queues, messages, connections = 4;
static atomic_ullong delivered;

static const char* queue_name(uint64_t queue, char* name, size_t bytes) {
  snprintf(name, bytes, "backlog.%" PRIu64, queue);
  return name;
}

static void close_well(amqp_connection_state_t connection) {
  amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
  amqp_destroy_connection(connection);
}

static void* declare(void* argument) {
  const Worker* worker = argument;
  amqp_connection_state_t connection = connect_patiently();
  char name[64];
  for (uint64_t queue = worker->index; queue < queues; queue += connections)
    declare_durable(connection, queue_name(queue, name, sizeof name));
  close_well(connection);
  return NULL;
}

static void refuse_nack(void* owner, uint64_t tag, int good) {
  (void)owner;
  if (!good) fail("publish %" PRIu64 " was refused", tag);
}

static void* fill(void* argument) {
  const Worker* worker = argument;
  amqp_connection_state_t connection = connect_patiently();
  amqp_confirm_select(connection, 1);
  if (!rpc_ok(connection)) fail("no confirms");
  Confirms confirms = {.settled = calloc(messages / connections + 3, 1), .on_settled = refuse_nack};
  char body[kBodyBytes];
  memset(body, 'x', sizeof body);
  char name[64];
  for (uint64_t number = worker->index; number < messages; number += connections) {
    snprintf(body, sizeof body, "%" PRIu64, number);
    ++confirms.tags;
    ++confirms.unsettled;
    if (!publish_persistent(connection, queue_name(number % queues, name, sizeof name),
                            (amqp_bytes_t){sizeof body, body}) ||
        (confirms.unsettled >= kWindow && !await_confirms(connection, &confirms, kWindow / 2)))
      fail("the connection broke");
  }
  if (!await_confirms(connection, &confirms, 0)) fail("the connection broke");
  free(confirms.settled);
  close_well(connection);
  return NULL;
}

static void acknowledge(amqp_connection_state_t connection, uint64_t tag) {
  if (amqp_basic_ack(connection, 1, tag, 1) != AMQP_STATUS_OK) fail("the connection broke");
}

// Without waiting for consume-ok: the library would search all deliveries that came meanwhile.
static void consume(amqp_connection_state_t connection, const char* queue, uint64_t consumer) {
  char tag[32];
  snprintf(tag, sizeof tag, "c%" PRIu64, consumer);
  amqp_basic_consume_t method = {
      .queue = amqp_cstring_bytes(queue), .consumer_tag = amqp_cstring_bytes(tag), .nowait = 1};
  if (amqp_send_method(connection, 1, AMQP_BASIC_CONSUME_METHOD, &method) != AMQP_STATUS_OK)
    fail("cannot consume from %s", queue);
}

static void* drain(void* argument) {
  const Worker* worker = argument;
  amqp_connection_state_t connection = connect_patiently();
  amqp_basic_qos(connection, 1, 0, queues < 100 ? 500 : 200, 0);
  if (!rpc_ok(connection)) fail("no prefetch");
  const uint64_t consumers = queues < connections ? connections : queues;
  char name[64];
  for (uint64_t consumer = worker->index; consumer < consumers; consumer += connections) {
    consume(connection, queue_name(consumer % queues, name, sizeof name), consumer);
  }
  uint64_t tag = 0;
  int unacked = 0;
  double heard_at = seconds();
  while (atomic_load(&delivered) < messages) {
    amqp_envelope_t envelope;
    struct timeval patience = {0, 50 * 1000};
    amqp_maybe_release_buffers(connection);
    amqp_rpc_reply_t reply = amqp_consume_message(connection, &envelope, &patience, 0);
    const int is_delivery = reply.reply_type == AMQP_RESPONSE_NORMAL;
    if (is_delivery) {
      tag = envelope.delivery_tag;
      ++unacked;
      atomic_fetch_add(&delivered, 1);
      heard_at = seconds();
      amqp_destroy_envelope(&envelope);
    } else if (reply.reply_type != AMQP_RESPONSE_LIBRARY_EXCEPTION ||
               reply.library_error != AMQP_STATUS_TIMEOUT) {
      fail("the connection broke");
    } else if (seconds() > heard_at + kPatienceSeconds) {
      fail("only %llu of %" PRIu64 " messages came", delivered, messages);
    }
    if (unacked >= kAckEvery || (unacked > 0 && !is_delivery)) {
      acknowledge(connection, tag);
      unacked = 0;
    }
  }
  if (unacked > 0) acknowledge(connection, tag);
  close_well(connection);
  return NULL;
}

static void run_workers(void* (*work)(void*)) {
  static Worker workers[kConnectionsMax];
  for (uint64_t index = 0; index < connections; ++index) {
    workers[index].index = index;
    pthread_create(&workers[index].thread, NULL, work, &workers[index]);
  }
  for (uint64_t index = 0; index < connections; ++index)
    pthread_join(workers[index].thread, NULL);
}

int main(int count, char** arguments) {
  if (count < 5)
    fail("usage: %s HOST PORT declare|fill|drain QUEUES [MESSAGES CONNECTIONS]", arguments[0]);
  signal(SIGPIPE, SIG_IGN);
  host = arguments[1];
  port = atoi(arguments[2]);
  const char* what = arguments[3];
  queues = strtoull(arguments[4], NULL, 10);
  if (count > 5) messages = strtoull(arguments[5], NULL, 10);
  if (count > 6) connections = strtoull(arguments[6], NULL, 10);
  if (queues == 0 || connections == 0 || connections > kConnectionsMax) fail("not that many");
  const double start = seconds();
  if (strcmp(what, "declare") == 0) {
    run_workers(declare);
  } else if (strcmp(what, "fill") == 0) {
    run_workers(fill);
  } else if (strcmp(what, "drain") == 0) {
    run_workers(drain);
  } else {
    fail("%s is none of declare, fill and drain", what);
  }
  printf("%.3f\n", seconds() - start);
  return 0;
}
