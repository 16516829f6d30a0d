#!/usr/bin/python3
"""Retries with back-off (docs/features.md): one poison message among many good ones, 8 consumers, and a kill -9 in the
middle. HARRIER_TEST_RETRY_MESSAGES=100000 makes it longer."""
import contextlib
import json
import os
import random
import time
import unittest

import harness

pika = harness.require('pika', 'python3-pika')

CONSUMERS = 8
GOOD = int(os.environ.get('HARRIER_TEST_RETRY_MESSAGES', '5000'))
SCHEDULE_MS = [500, 1500, 3000, 1000]
# A retry never comes early; late only by what a loaded machine adds to delivery and acknowledgement.
SLACK = float(os.environ.get('HARRIER_TEST_RETRY_SLACK', '1.0'))


class Workers:
    """Consumers in one thread: each takes what arrives, acks it, and nacks the poison."""

    def __init__(self, test, broker):
        self.test = test
        self.broker = broker
        self.done = set()
        self.twice = 0
        self.poison = []  # (when, delivery count, redelivered)
        self.nacked = []  # when
        self.connections = []

    def connect(self):
        for _ in range(CONSUMERS):
            connection = pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port,
                                                                           heartbeat=0))
            channel = connection.channel()
            channel.basic_qos(prefetch_count=50)
            channel.basic_consume('work', self.take)
            self.connections.append(connection)

    def take(self, channel, method, properties, body):
        if body != b'poison':
            self.twice += body in self.done
            self.done.add(body)
            channel.basic_ack(method.delivery_tag)
            return
        self.poison.append((time.time(), (properties.headers or {}).get('x-delivery-count', 0), method.redelivered))
        channel.basic_nack(method.delivery_tag, requeue=True)
        self.nacked.append(time.time())

    def run_until(self, condition, what, deadline):
        end = time.monotonic() + deadline
        while not condition():
            self.test.assertLess(time.monotonic(), end, f'not within {deadline:g} s: {what}; {self.poison}')
            for connection in self.connections:
                connection.process_data_events(time_limit=0.001)

    def drop(self):
        for connection in self.connections:
            with contextlib.suppress(Exception):
                connection.close()
        self.connections = []


class RetryTest(unittest.TestCase):
    def setUp(self):
        if 'HARRIER_TEST_PORT' in os.environ or 'HARRIER_TEST_COMMAND' in os.environ:
            print(f'NOT RUN: {self.id()}: RabbitMQ has no such retries', flush=True)
            self.skipTest('RabbitMQ has no such retries')
        self.broker = harness.Broker(['--set', 'shards=2']).start()
        self.addCleanup(self.broker.dispose)

    def publish(self):
        connection = pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port, heartbeat=0))
        channel = connection.channel()
        channel.queue_declare('dead', durable=True)
        channel.queue_declare('work', durable=True, arguments={
            'x-delayed-retry-type': 'all', 'x-delayed-retry-schedule': SCHEDULE_MS,
            'x-delivery-limit': len(SCHEDULE_MS), 'x-dead-letter-exchange': '',
            'x-dead-letter-routing-key': 'dead'})
        channel.tx_select()
        persistent = pika.BasicProperties(delivery_mode=2)
        place = random.randrange(GOOD // 4)
        for number in range(GOOD):
            if number == place:
                channel.basic_publish('', 'work', b'poison', persistent)
            channel.basic_publish('', 'work', str(number).encode(), persistent)
        channel.tx_commit()
        connection.close()

    def await_delay_on_disk(self):
        """The nack has arrived when it is counted; what was confirmed later is on disk later."""
        def delayed():
            code, out, _ = harness.harrier('delayed', 'work', '--data-dir', self.broker.data)
            return code == 0 and json.loads(out)['messages_delayed'] == 1
        harness.eventually(delayed, 'the poison message waits')
        connection = pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port, heartbeat=0))
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish('', 'work', b'last', pika.BasicProperties(delivery_mode=2))
        connection.close()

    def dead_letter(self):
        connection = pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port, heartbeat=0))
        channel = connection.channel()
        got = harness.eventually(lambda: [one for one in [channel.basic_get('dead', auto_ack=True)] if one[0]],
                                 'the dead letter')[0]
        self.assertIsNone(channel.basic_get('dead', auto_ack=True)[0])
        left = channel.queue_declare('work', passive=True).method.message_count
        connection.close()
        return got, left

    def test_a_poison_message_makes_its_retries_and_nobody_waits_for_it(self):
        self.publish()
        workers = Workers(self, self.broker)
        workers.connect()
        workers.run_until(lambda: len(workers.poison) == 2, 'the first retry', 60)
        self.await_delay_on_disk()
        self.broker.kill()
        workers.drop()
        self.broker.start()
        workers.connect()
        tries = len(SCHEDULE_MS) + 1
        workers.run_until(lambda: len(workers.poison) == tries, 'the last retry', 60)
        workers.run_until(lambda: len(workers.done) == GOOD + 1, 'all good messages', 60 + GOOD / 500)
        (method, properties, body), left = self.dead_letter()
        workers.drop()

        self.assertEqual([count for _, count, _ in workers.poison], list(range(tries)))
        self.assertEqual([redelivered for _, _, redelivered in workers.poison], [False] + [True] * (tries - 1))
        for number, delay_ms in enumerate(SCHEDULE_MS):
            waited = workers.poison[number + 1][0] - workers.nacked[number]
            print(f'retry {number + 1}: wanted {delay_ms} ms, waited {waited * 1000:.0f} ms', flush=True)
            self.assertGreaterEqual(waited, delay_ms / 1000 * 0.95)
            self.assertLessEqual(waited, delay_ms / 1000 * 1.05 + SLACK)
        self.assertEqual(left, 0)
        self.assertEqual(body, b'poison')
        death, = properties.headers['x-death']
        self.assertEqual((death['queue'], death['reason'], death['count'], death['exchange'], death['routing-keys']),
                         ('work', 'delivery_limit', 1, '', ['work']))
        self.assertEqual(properties.headers['x-first-death-reason'], 'delivery_limit')
        print(f'{GOOD} good messages, {workers.twice} of them twice (unacknowledged at the kill)', flush=True)


if __name__ == '__main__':
    harness.main()
