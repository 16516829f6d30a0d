#!/usr/bin/python3
"""Celery's native delayed delivery (5.5 and later): a task with a countdown goes through a chain of queues, one for each
bit of the countdown, in which it waits 2^level. Debian's Celery is older; this declares and publishes what kombu's
native_delayed_delivery.py does, name by name and argument by argument. Only the unit is shorter than a second where
something has to wait."""
import time
import uuid

import harness
import pika_blocking_test

pika = pika_blocking_test.pika

BITS = 28
LATE = 5  # seconds that a busy machine may add
EARLY = 0.002  # seconds that a queue may lack, because it counts whole milliseconds


def routing_key(countdown, key):
    """kombu: calculate_routing_key."""
    return '.'.join(f'{countdown:0{BITS}b}') + f'.{key}'


class CeleryDelayTest(pika_blocking_test.PikaTest):
    def setUp(self):
        super().setUp()
        self.prefix = f'delay.{uuid.uuid4().hex[:8]}'
        self.work = self.prefix + '.work'
        self.addCleanup(self.delete_topology)

    def level(self, number):
        return f'{self.prefix}_celery_delayed_{number}'

    def delivery_exchange(self):
        return f'{self.prefix}_celery_delayed_delivery'

    def after(self, level):
        return self.level(level - 1) if level > 0 else self.delivery_exchange()

    def declare_topology(self, queue_type, unit_ms):
        """kombu: declare_native_delayed_delivery_exchanges_and_queues."""
        key = '1.#'
        for level in range(BITS - 1, -1, -1):
            self.channel.exchange_declare(self.level(level), 'topic', durable=True)
            arguments = {
                'x-queue-type': queue_type,
                'x-overflow': 'reject-publish',
                'x-message-ttl': 2 ** level * unit_ms,
                'x-dead-letter-exchange': self.after(level),
            }
            if queue_type == 'quorum':
                arguments['x-dead-letter-strategy'] = 'at-least-once'
            self.channel.queue_declare(self.level(level), durable=True, arguments=arguments)
            self.channel.queue_bind(self.level(level), self.level(level), key)
            key = '*.' + key
        key = '0.#'
        for level in range(BITS - 1, 0, -1):
            self.channel.exchange_bind(self.level(level - 1), self.level(level), key)
            key = '*.' + key
        self.channel.exchange_declare(self.delivery_exchange(), 'topic', durable=True)
        self.channel.exchange_bind(self.delivery_exchange(), self.level(0), key)

    def declare_work(self):
        """kombu: bind_queue_to_native_delayed_delivery_exchange."""
        self.channel.exchange_declare(self.work, 'topic', durable=True)
        self.channel.queue_declare(self.work, durable=True, arguments={'x-queue-type': 'quorum'})
        self.channel.queue_bind(self.work, self.work, self.work)
        self.channel.exchange_bind(self.work, self.delivery_exchange(), '#.' + self.work)
        self.channel.queue_bind(self.work, self.work, '#.' + self.work)

    def delete_topology(self):
        channel = self.connect().channel()
        for level in range(BITS):
            channel.queue_delete(self.level(level))
            channel.exchange_delete(self.level(level))
        channel.exchange_delete(self.delivery_exchange())
        channel.queue_delete(self.work)
        channel.exchange_delete(self.work)

    def publish(self, countdown):
        """As Celery does: to the highest level of the countdown's bits."""
        self.channel.basic_publish(self.level(BITS - 1), routing_key(countdown, self.work), str(countdown).encode(),
                                   pika.BasicProperties(delivery_mode=2, headers={'task': 'add', 'eta': countdown}))

    def counts(self):
        """Messages per level, where there are any."""
        counts = {level: self.channel.queue_declare(self.level(level), passive=True).method.message_count
                  for level in range(BITS)}
        return {level: count for level, count in counts.items() if count}

    def test_each_countdown_waits_in_the_queue_of_its_highest_bit(self):
        for queue_type in ('quorum', 'classic'):
            with self.subTest(queue_type):
                self.declare_topology(queue_type, 1000)
                self.declare_topology(queue_type, 1000)  # every worker does
                self.declare_work()
                self.channel.confirm_delivery()
                for countdown in (60, 100, 5000, 86400, 2 ** 27, 2 ** 28 - 1):
                    self.publish(countdown)
                harness.eventually(lambda: self.counts() == {5: 1, 6: 1, 12: 1, 16: 1, 27: 2}, 'six tasks in five queues')
                self.delete_topology()

    def test_tasks_arrive_when_their_countdown_is_over(self):
        for queue_type in ('quorum', 'classic'):
            with self.subTest(queue_type):
                self.arrive_in_time(queue_type)
                self.delete_topology()

    def arrive_in_time(self, queue_type):
        unit = 0.02
        self.declare_topology(queue_type, int(unit * 1000))
        self.declare_work()
        self.channel.confirm_delivery()
        arrivals = {}
        self.channel.basic_consume(self.work, lambda _channel, method, properties, body: arrivals.update(
            {int(body): (time.monotonic(), method, properties)}), auto_ack=True)
        published = {}
        for countdown in (100, 63, 64, 1, 2, 3, 5, 21, 42):
            published[countdown] = time.monotonic()
            self.publish(countdown)

        def all_arrived():
            self.connection.process_data_events(0.01)
            return len(arrivals) == len(published)
        harness.eventually(all_arrived, 'all tasks', every=0)
        for countdown, (at, method, properties) in arrivals.items():
            levels = [level for level in range(BITS - 1, -1, -1) if countdown & 2 ** level]
            with self.subTest(countdown=countdown):
                waited = at - published[countdown]
                self.assertGreaterEqual(waited, countdown * unit - EARLY * len(levels))
                self.assertLess(waited, countdown * unit + LATE)
                self.assertEqual((method.exchange, method.routing_key, method.redelivered),
                                 (self.after(levels[-1]), routing_key(countdown, self.work), False))
                self.assertEqual(properties.headers['task'], 'add')
                deaths = [(death['queue'], death['reason'], death['count']) for death in properties.headers['x-death']]
                self.assertEqual(deaths[0], (self.level(levels[-1]), 'expired', 1))
                # Quorum queues of RabbitMQ 3.10 keep no order behind the latest.
                self.assertEqual(sorted(deaths), sorted((self.level(level), 'expired', 1) for level in levels))

    def test_a_task_that_is_delayed_again_keeps_its_key_short(self):
        self.declare_topology('quorum', 10)
        self.declare_work()
        self.channel.confirm_delivery()
        for countdown in (3, 5, 9):  # a retry publishes anew
            began = time.monotonic()
            self.publish(countdown)
            inbox = pika_blocking_test.Inbox(self.channel, self.work, auto_ack=True)
            self.assertEqual(inbox.wait(1), [str(countdown).encode()])
            self.assertGreaterEqual(time.monotonic() - began, countdown * 0.01 - 2 * EARLY)
            self.channel.basic_cancel(inbox.tag)
        self.assertEqual(self.counts(), {})

    def test_delays_go_on_over_a_restart(self):
        self.needs_own_broker()
        unit = 0.02
        self.declare_topology('quorum', int(unit * 1000))
        self.declare_work()
        self.channel.confirm_delivery()
        began = time.monotonic()
        for countdown in (1, 85, 2 ** 20):
            self.publish(countdown)
        self.broker.restart()
        self.connection = self.connect()
        self.channel = self.connection.channel()
        inbox = pika_blocking_test.Inbox(self.channel, self.work, auto_ack=True)
        self.assertEqual(sorted(inbox.wait(2)), [b'1', b'85'])
        self.assertGreaterEqual(time.monotonic() - began, 85 * unit - 4 * EARLY)
        self.assertEqual(self.counts(), {20: 1})


if __name__ == '__main__':
    harness.main()
