// Persistent messages through durable queues, and the proof that none is lost: soak_million HOST
// PORT COUNT PREFIX.
//
// kPairs publishers and kPairs consumers, a connection and a thread each; publisher i feeds queue
// i, consumer i empties it with acks. Each body carries its queue and its sequence number. A
// connection that breaks is opened again: the publisher goes on with the next number (what was not
// confirmed stays unconfirmed and may or may not arrive), the consumer starts anew. Rules checked:
//   - every confirmed message is delivered at least once;
//   - a second delivery carries redelivered=1;
//   - on one consumer connection the numbers of a queue only grow.
// Prints "progress N" as N deliveries are reached, then one line of totals; status 1 when a rule is
// broken.
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
  kPairs = 4,
  kBodyBytes = 1024,
  kPrefetch = 500,
  kAckEvery = 100
};

// State of one sequence number, set by the publisher (confirmed) and the consumer (seen).
typedef struct {
  atomic_uchar* confirmed;
  unsigned char* seen;
  char name[128];
  int index;
  atomic_bool published;  // the publisher is done
  pthread_t publisher, consumer;
} Pair;

static uint64_t per_queue;
static Pair pairs[kPairs];
static atomic_ullong delivered, confirmed_total, nacked, redelivered, duplicates, connection_losses;

// ---- publisher ----

typedef struct {
  Pair* pair;
  uint64_t first;  // sequence number of delivery tag 1 on this connection
} Stretch;

static void note_confirm(void* owner, uint64_t tag, int good) {
  const Stretch* stretch = owner;
  if (!good) {
    atomic_fetch_add(&nacked, 1);
    return;
  }
  atomic_store(&stretch->pair->confirmed[stretch->first + tag - 1], 1);
  atomic_fetch_add(&confirmed_total, 1);
}

// Publishes on one connection from `next` on; returns the first number not published.
static uint64_t publish_from(amqp_connection_state_t connection, Pair* pair, uint64_t next) {
  amqp_confirm_select(connection, 1);
  if (!rpc_ok(connection)) return next;
  Stretch stretch = {.pair = pair, .first = next};
  Confirms confirms = {
      .settled = calloc(per_queue - next + 2, 1), .on_settled = note_confirm, .owner = &stretch};
  char body[kBodyBytes];
  memset(body, 'x', sizeof body);
  int healthy = 1;
  while (healthy && next < per_queue) {
    snprintf(body, sizeof body, "%d %" PRIu64, pair->index, next);
    healthy = publish_persistent(connection, pair->name, (amqp_bytes_t){sizeof body, body});
    ++next;  // a number is never published twice, even if this attempt failed half-way
    ++confirms.tags;
    ++confirms.unsettled;
    if (healthy && confirms.unsettled >= kWindow)
      healthy = await_confirms(connection, &confirms, kWindow / 2);
  }
  if (healthy) await_confirms(connection, &confirms, 0);
  free(confirms.settled);
  return next;
}

static void* run_publisher(void* argument) {
  Pair* pair = argument;
  uint64_t next = 0;
  while (next < per_queue) {
    amqp_connection_state_t connection = connect_patiently();
    next = publish_from(connection, pair, next);
    if (next < per_queue) atomic_fetch_add(&connection_losses, 1);
    amqp_destroy_connection(connection);
  }
  atomic_store(&pair->published, 1);
  return NULL;
}

// ---- consumer ----

static int all_confirmed_seen(const Pair* pair) {
  for (uint64_t number = 0; number < per_queue; ++number) {
    if (atomic_load(&pair->confirmed[number]) && !pair->seen[number]) return 0;
  }
  return 1;
}

static void note_delivery(Pair* pair, const amqp_envelope_t* envelope, int64_t* last) {
  int index = -1;
  uint64_t number = 0;
  if (envelope->message.body.len != kBodyBytes ||
      sscanf(envelope->message.body.bytes, "%d %" SCNu64, &index, &number) != 2 ||
      index != pair->index || number >= per_queue) {
    fail("a body of %zu octets that nobody sent to %s", envelope->message.body.len, pair->name);
  }
  if ((int64_t)number <= *last)
    fail("%s: number %" PRIu64 " came after %" PRId64, pair->name, number, *last);
  *last = (int64_t)number;
  if (envelope->redelivered) atomic_fetch_add(&redelivered, 1);
  if (pair->seen[number]) {
    atomic_fetch_add(&duplicates, 1);
    if (!envelope->redelivered)
      fail("%s: number %" PRIu64 " came twice, not marked redelivered", pair->name, number);
  }
  pair->seen[number] = 1;
  unsigned long long count = atomic_fetch_add(&delivered, 1) + 1;
  if (count % 1000 == 0) {
    printf("progress %llu\n", count);
    fflush(stdout);
  }
}

// Consumes on one connection until everything confirmed was seen (1) or the connection broke (0).
static int consume_until_done(amqp_connection_state_t connection, Pair* pair) {
  amqp_basic_qos(connection, 1, 0, kPrefetch, 0);
  if (!rpc_ok(connection)) return 0;
  amqp_basic_consume(connection, 1, amqp_cstring_bytes(pair->name), amqp_empty_bytes, 0, 0, 0,
                     amqp_empty_table);
  if (!rpc_ok(connection)) return 0;
  int64_t last = -1;
  uint64_t unacked_tag = 0;
  int unacked = 0;
  double silent_since = seconds();
  for (;;) {
    amqp_envelope_t envelope;
    struct timeval patience = {0, 200 * 1000};
    amqp_maybe_release_buffers(connection);
    amqp_rpc_reply_t reply = amqp_consume_message(connection, &envelope, &patience, 0);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
      note_delivery(pair, &envelope, &last);
      unacked_tag = envelope.delivery_tag;
      amqp_destroy_envelope(&envelope);
      silent_since = seconds();
      if (++unacked < kAckEvery) continue;
    } else if (reply.reply_type != AMQP_RESPONSE_LIBRARY_EXCEPTION ||
               reply.library_error != AMQP_STATUS_TIMEOUT) {
      return 0;
    }
    if (unacked > 0 && amqp_basic_ack(connection, 1, unacked_tag, 1) != AMQP_STATUS_OK) return 0;
    unacked = 0;
    if (atomic_load(&pair->published) && reply.reply_type != AMQP_RESPONSE_NORMAL) {
      if (all_confirmed_seen(pair)) return 1;
      if (seconds() - silent_since > 30) return 1;  // main() reports what is missing
    }
  }
}

static void* run_consumer(void* argument) {
  Pair* pair = argument;
  for (;;) {
    amqp_connection_state_t connection = connect_patiently();
    int done = consume_until_done(connection, pair);
    if (done) {
      amqp_queue_delete(connection, 1, amqp_cstring_bytes(pair->name), 0, 0);
      rpc_ok(connection);
      amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    } else {
      atomic_fetch_add(&connection_losses, 1);
    }
    amqp_destroy_connection(connection);
    if (done) return NULL;
  }
}

// ---- the whole ----

static void declare_queues(void) {
  amqp_connection_state_t connection = connect_patiently();
  for (int index = 0; index < kPairs; ++index)
    declare_durable(connection, pairs[index].name);
  amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
  amqp_destroy_connection(connection);
}

static uint64_t count_lost(void) {
  uint64_t lost = 0;
  for (int index = 0; index < kPairs; ++index) {
    for (uint64_t number = 0; number < per_queue; ++number) {
      if (atomic_load(&pairs[index].confirmed[number]) && !pairs[index].seen[number]) ++lost;
    }
  }
  return lost;
}

int main(int argument_count, char** arguments) {
  if (argument_count != 5) fail("usage: %s HOST PORT COUNT PREFIX", arguments[0]);
  signal(SIGPIPE, SIG_IGN);
  host = arguments[1];
  port = atoi(arguments[2]);
  per_queue = strtoull(arguments[3], NULL, 10) / kPairs;
  for (int index = 0; index < kPairs; ++index) {
    pairs[index].index = index;
    pairs[index].confirmed = calloc(per_queue, sizeof *pairs[index].confirmed);
    pairs[index].seen = calloc(per_queue, 1);
    snprintf(pairs[index].name, sizeof pairs[index].name, "%s.%d", arguments[4], index);
  }
  declare_queues();
  double start = seconds();
  for (int index = 0; index < kPairs; ++index) {
    pthread_create(&pairs[index].consumer, NULL, run_consumer, &pairs[index]);
    pthread_create(&pairs[index].publisher, NULL, run_publisher, &pairs[index]);
  }
  for (int index = 0; index < kPairs; ++index) {
    pthread_join(pairs[index].publisher, NULL);
    pthread_join(pairs[index].consumer, NULL);
  }
  uint64_t lost = count_lost();
  printf("published %" PRIu64
         " confirmed %llu nacked %llu delivered %llu redelivered %llu duplicates %llu lost %" PRIu64
         " connection-losses %llu seconds %.2f\n",
         per_queue * kPairs, confirmed_total, nacked, delivered, redelivered, duplicates, lost,
         connection_losses, seconds() - start);
  if (lost > 0) fail("%" PRIu64 " confirmed messages never came", lost);
  return 0;
}
