#!/usr/bin/python3
"""What the broker itself publishes: the firehose as `harrier trace` switches it, and its log as messages."""
import os
import pathlib
import subprocess
import sys
import unittest

import harness

pika = harness.require('pika', 'python3-pika')


def harrier(broker, *arguments):
    """Runs the CLI that was built with the broker: exit status, standard output, standard error."""
    program = pathlib.Path(os.environ.get('HARRIERD', harness.ROOT / 'build' / os.environ.get('HARRIER_PRESET', 'dev')
                                          / 'bin' / 'harrierd')).with_name('harrier')
    if not program.exists():
        sys.exit(f'FAILED: {program} does not exist. Build it: cmake --build build/dev --target harrier')
    ran = subprocess.run([program, *arguments, '--data-dir', broker.data], capture_output=True, text=True,
                         timeout=harness.DEADLINE * 4)
    return ran.returncode, ran.stdout, ran.stderr


class OwnMessages(unittest.TestCase):
    def setUp(self):
        self.broker = harness.Broker(['--set', 'shards=2', '--set', 'log.exchange=true']).start()
        self.addCleanup(self.broker.dispose)
        self.connections = []

    def connect(self):
        connection = pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port))
        self.connections.append(connection)
        return connection

    def stop(self):
        for connection in self.connections:
            connection.close()
        self.broker.stop()

    def bound(self, channel, exchange, key):
        queue = channel.queue_declare('', exclusive=True).method.queue
        channel.queue_bind(queue, exchange, key)
        return queue

    def next_of(self, channel, queue):
        got = []

        def came():
            got[:] = channel.basic_get(queue, auto_ack=True)
            return got[0] is not None
        harness.eventually(came, f'a message in {queue}')
        return got

    def test_the_firehose_is_switched_by_the_command(self):
        channel = self.connect().channel()
        traces = self.bound(channel, 'amq.rabbitmq.trace', '#')
        self.assertEqual(harrier(self.broker, 'trace', 'on'), (0, "tracing of virtual host '/' is on\n", ''))
        channel.queue_declare('q')
        channel.basic_publish('', 'q', b'hello', pika.BasicProperties(content_type='text/plain'))
        method, properties, body = self.next_of(channel, traces)
        self.assertEqual((method.routing_key, body), ('publish.', b'hello'))
        self.assertEqual(properties.headers['properties'], {'content_type': 'text/plain'})
        self.assertEqual(properties.headers['routed_queues'], ['q'])
        self.assertIn(' -> ', properties.headers['connection'])
        self.assertIsNone(properties.content_type)
        self.assertEqual(channel.basic_get('q', auto_ack=True)[2], b'hello')
        self.assertEqual(self.next_of(channel, traces)[0].routing_key, 'deliver.q')
        # Reading the traces is not traced.
        self.assertEqual(channel.basic_get(traces, auto_ack=True)[0], None)
        self.assertEqual(harrier(self.broker, 'trace', 'off', '/')[0], 0)
        channel.basic_publish('', 'q', b'unseen')
        self.assertEqual(self.next_of(channel, 'q')[2], b'unseen')
        self.assertEqual(channel.basic_get(traces, auto_ack=True)[0], None)
        status, out, err = harrier(self.broker, 'trace', 'on', 'nowhere')
        self.assertNotEqual(status, 0)
        self.assertEqual((out, err), ('', "harrier: virtual host 'nowhere' does not exist\n"))
        self.stop()

    def test_the_log_comes_as_messages(self):
        channel = self.connect().channel()
        lines = self.bound(channel, 'amq.rabbitmq.log', 'info')
        self.connect()
        method, properties, body = self.next_of(channel, lines)
        self.assertIn(b'connection: accepting AMQP connection 127.0.0.1:', body)
        self.assertEqual((method.exchange, method.routing_key), ('amq.rabbitmq.log', 'info'))
        self.assertEqual(properties.content_type, 'text/plain')
        self.assertIn('@', properties.headers['node'])
        self.assertGreater(properties.timestamp, 1_600_000_000)
        self.assertIn(b'authenticated and granted access', self.next_of(channel, lines)[2])
        self.stop()


if __name__ == '__main__':
    harness.main()
