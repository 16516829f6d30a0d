#!/usr/bin/python3
"""`harrier redrive`: dead letters go home."""
import json
import time
import unittest

import harness

pika = harness.require('pika', 'python3-pika')

SHARDS = ['--set', 'shards=2']


class RedriveTest(unittest.TestCase):
    def setUp(self):
        self.broker = harness.Broker(SHARDS).start()
        self.addCleanup(self.broker.dispose)

    def connect(self):
        return pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port, heartbeat=0))

    def redrive(self, *words):
        """The rows that came back."""
        code, out, err = harness.harrier('redrive', *words, '--data-dir', self.broker.data)
        self.assertEqual((code, err), (0, ''))
        return [json.loads(line) for line in out.splitlines()]

    def refused(self, *words):
        code, out, err = harness.harrier('redrive', *words, '--data-dir', self.broker.data)
        self.assertEqual((code, out), (1, ''))
        return err

    def status(self):
        return self.redrive('--status')[-1]

    def dead_letters(self, channel, count):
        """`count` messages that died in a and b by turns, by number; 0, 1 and 2 of three have a kind."""
        channel.queue_declare('dead', durable=True)
        for name in 'ab':
            channel.queue_declare(name, durable=True, arguments={
                'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead'})
        channel.tx_select()
        for number in range(count):
            channel.basic_publish('', 'ab'[number % 2], str(number).encode(), pika.BasicProperties(
                delivery_mode=2, expiration='0', headers={'kind': number % 3}))
        channel.tx_commit()
        harness.eventually(lambda: self.depth(channel, 'dead') == count, f'{count} dead letters')

    def depth(self, channel, queue):
        return channel.queue_declare(queue, passive=True).method.message_count

    def drained(self, channel, queue):
        numbers = []
        while True:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None:
                return numbers
            self.assertGreaterEqual(properties.headers['x-redriven-count'], 1)
            numbers.append(int(body))

    def test_a_thousand_dead_letters_from_two_queues_go_home_in_order(self):
        connection = self.connect()
        channel = connection.channel()
        self.dead_letters(channel, 1000)
        dry = self.redrive('dead', '--dry-run', '--filter', 'queue=a')
        self.assertEqual([(row['matched'], row['moved'], row['state']) for row in dry], [(500, 0, 'done')])
        self.assertEqual(self.depth(channel, 'dead'), 1000)
        done = self.redrive('dead', '--wait')
        self.assertEqual([(row['moved'], row['state']) for row in done], [(1000, 'done')])
        self.assertEqual(self.depth(channel, 'dead'), 0)
        method, properties, _ = channel.basic_get('a')
        self.assertEqual(properties.headers['x-redriven-count'], 1)
        self.assertEqual(properties.headers['x-death'][0]['reason'], 'expired')
        self.assertIsNone(properties.expiration)
        channel.basic_nack(method.delivery_tag)
        channel.tx_commit()
        self.assertEqual(self.drained(channel, 'a'), list(range(0, 1000, 2)))
        self.assertEqual(self.drained(channel, 'b'), list(range(1, 1000, 2)))
        connection.close()
        self.broker.stop()

    def test_filter_limit_destination_and_errors(self):
        connection = self.connect()
        channel = connection.channel()
        self.dead_letters(channel, 30)
        channel.queue_declare('inspect', durable=True)
        channel.exchange_declare('again', 'topic')
        channel.queue_bind('inspect', 'again', 'retry.#')
        row, = self.redrive('dead', '--wait', '--to', 'queue:inspect', '--filter', 'header.kind=1', '--filter',
                            'reason=expired', '--limit', '4')
        self.assertEqual(row['moved'], 4)
        self.assertEqual(self.drained(channel, 'inspect'), [1, 4, 7, 10])
        row, = self.redrive('dead', '--wait', '--to', 'exchange:again', '--routing-key', 'retry.now', '--filter',
                            'header.kind=1', '--reset-count')
        self.assertEqual(row['moved'], 6)
        _, properties, _ = channel.basic_get('inspect')
        self.assertNotIn('x-death', properties.headers)
        row, = self.redrive('dead', '--wait', '--to', 'exchange:again', '--routing-key', 'nowhere')
        self.assertEqual((row['moved'], row['unroutable']), (0, 20))
        self.assertEqual(self.depth(channel, 'dead'), 20)
        self.assertEqual(self.refused('none'), "harrier: no queue 'none' in vhost '/'\n")
        self.assertEqual(self.refused('dead', '--to', 'queue:none'), "harrier: no queue 'none' in vhost '/'\n")
        self.assertEqual(self.refused('dead', '--filter', 'age=5'),
                         'harrier: a filter is reason=WHY, queue=NAME or header.NAME=VALUE\n')
        self.assertEqual(self.refused('--cancel', '99'), 'harrier: no job 99 runs\n')
        connection.close()
        self.broker.stop()

    def test_a_slow_job_keeps_its_rate_and_is_cancelled(self):
        connection = self.connect()
        channel = connection.channel()
        self.dead_letters(channel, 500)
        begin = time.monotonic()
        started, = self.redrive('dead', '--rate', '50')
        self.assertEqual(started['state'], 'running')
        self.assertIn('already', self.refused('dead'))
        moved = harness.eventually(lambda: max(self.status()['moved'] - 60, 0), 'more than 60 messages moved') + 60
        # Five may go ahead.
        self.assertLessEqual(moved, 50 * (time.monotonic() - begin) + 5)
        self.redrive('--cancel', str(started['job']))
        moved = self.status()['moved']
        self.assertEqual(self.status()['state'], 'cancelled')
        harness.eventually(lambda: self.depth(channel, 'a') + self.depth(channel, 'b') == moved, 'all moved there')
        self.assertEqual(self.depth(channel, 'dead'), 500 - moved)
        connection.close()
        self.broker.stop()

    def test_a_crash_in_the_middle_loses_and_doubles_nothing(self):
        channel = self.connect().channel()
        self.dead_letters(channel, 2000)
        for rounds in range(4):
            self.redrive('dead', '--rate', '2000')
            harness.eventually(lambda: self.status()['moved'] > 100, 'a part of them is moved')
            self.broker.kill()
            self.broker.start()
            channel = self.connect().channel()
            self.assertEqual(sum(self.depth(channel, name) for name in ('dead', 'a', 'b')), 2000)
            if self.depth(channel, 'dead') < 300:
                break
        left = self.depth(channel, 'dead')
        row, = self.redrive('dead', '--wait')
        self.assertEqual(row['moved'], left)
        connection = self.connect()
        channel = connection.channel()
        self.assertEqual(self.drained(channel, 'a'), list(range(0, 2000, 2)))
        self.assertEqual(self.drained(channel, 'b'), list(range(1, 2000, 2)))
        connection.close()
        self.broker.stop()


if __name__ == '__main__':
    harness.main()
