#!/usr/bin/python3
"""`harrier policy`, `operator-policy`, `limit`, `parameter` and `vhost`: what a running broker is told holds at once,
and after a restart."""
import contextlib
import json
import os
import unittest

import harness

pika = harness.require('pika', 'python3-pika')


class PolicyTest(unittest.TestCase):
    def setUp(self):
        if 'HARRIER_TEST_PORT' in os.environ or 'HARRIER_TEST_COMMAND' in os.environ:
            print(f'NOT RUN: {self.id()}: these are commands of Harrier', flush=True)
            self.skipTest('these are commands of Harrier')
        self.broker = harness.Broker(['--set', 'shards=2']).start()
        self.addCleanup(self.broker.dispose)

    def connect(self, vhost='/'):
        connection = pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port, vhost,
                                                                       heartbeat=0))
        self.addCleanup(self.close, connection)
        return connection

    def close(self, connection):
        with contextlib.suppress(pika.exceptions.AMQPError):
            if connection.is_open:
                connection.close()

    def tell(self, *words):
        """The rows that came back."""
        code, out, err = harness.harrier(*words, '--data-dir', self.broker.data)
        self.assertEqual((code, err), (0, ''))
        return [json.loads(line) for line in out.splitlines()]

    def refused(self, *words):
        code, out, err = harness.harrier(*words, '--data-dir', self.broker.data)
        self.assertEqual((code, out), (1, ''))
        return err

    def arrived(self, channel, queue):
        method, _, body = channel.basic_get(queue, auto_ack=True)
        return body if method else None

    def test_an_alternate_exchange_by_policy_holds_for_exchanges_that_are_there(self):
        channel = self.connect().channel()
        channel.exchange_declare('orders', 'direct', durable=True)
        channel.exchange_declare('lost', 'fanout', durable=True)
        channel.queue_declare('found', durable=True)
        channel.queue_bind('found', 'lost')
        channel.confirm_delivery()
        with self.assertRaises(pika.exceptions.UnroutableError):
            channel.basic_publish('orders', 'k', b'1', mandatory=True)

        self.tell('policy', 'set', 'catch', '^orders$', '{"alternate-exchange":"lost"}', '--apply-to', 'exchanges')
        channel.basic_publish('orders', 'k', b'2', mandatory=True)
        self.assertEqual(self.arrived(channel, 'found'), b'2')

        self.broker.restart()
        channel = self.connect().channel()
        channel.confirm_delivery()
        channel.basic_publish('orders', 'k', b'3', mandatory=True)
        self.assertEqual(self.arrived(channel, 'found'), b'3')

        self.tell('policy', 'clear', 'catch')
        with self.assertRaises(pika.exceptions.UnroutableError):
            channel.basic_publish('orders', 'k', b'4', mandatory=True)

    def test_policies_are_listed_and_wrong_ones_refused(self):
        self.tell('policy', 'set', 'short', '^q', '{"max-length":5}', '--priority=-1', '--apply-to', 'queues')
        self.tell('policy', 'set', 'first', '.*', '{"message-ttl":60000}')
        self.tell('operator-policy', 'set', 'bound', '.*', '{"max-length":100}')
        self.assertEqual([(row['name'], row['priority'], row['apply-to'], row['definition'])
                          for row in self.tell('policy', 'list')],
                         [('first', 0, 'all', {'message-ttl': 60000}), ('short', -1, 'queues', {'max-length': 5})])
        self.assertEqual([row['name'] for row in self.tell('operator-policy', 'list')], ['bound'])
        self.assertEqual(self.refused('policy', 'set', 'p', 'q', '{"foo":1}'),
                         'harrier: [{<<"foo">>,1}] are not recognised policy settings\n')
        self.assertEqual(self.refused('policy', 'clear', 'nothing'), 'harrier: Parameter does not exist\n')

    def test_a_dead_letter_queue_by_policy_is_declared(self):
        self.tell('policy', 'set', 'dead', '^work', '{"dead-letter-queue":"dead"}', '--apply-to', 'queues')
        channel = self.connect().channel()
        channel.queue_declare('dead', passive=True)
        channel.queue_declare('work', durable=True)
        channel.queue_declare('other', durable=True, arguments={'x-dead-letter-queue': 'dead of other'})
        channel.queue_declare('dead of other', passive=True)
        channel.queue_declare('dead of other', durable=True)

    def test_limits_hold_for_queues_connections_and_channels(self):
        first = self.connect()
        channel = first.channel()
        channel.queue_declare('a')
        self.tell('limit', 'set', 'max-queues', '1')
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as closed:
            channel.queue_declare('b')
        self.assertEqual(closed.exception.args[:2], (
            406, "PRECONDITION_FAILED - cannot declare queue 'b': queue limit in vhost '/' (1) is reached"))

        self.tell('limit', 'set', 'max-connections', '1')
        with self.assertRaises(pika.exceptions.ProbableAccessDeniedError) as refused:
            self.connect()
        self.assertIn("(530) \"NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is "
                      'reached', str(refused.exception))
        first.close()
        second = self.connect()

        self.tell('limit', 'set', 'max-channels', '2', '--user', 'guest')
        second.channel()
        second.channel()
        with self.assertRaises(pika.exceptions.ConnectionClosedByBroker) as closed:
            second.channel()
        self.assertEqual(closed.exception.args[:2], (
            530, "NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user "
            'limit of (2)'))
        self.assertEqual(self.tell('limit', 'list'),
                         [{'vhost': '/', 'name': 'max-connections', 'value': 1},
                          {'vhost': '/', 'name': 'max-queues', 'value': 1},
                          {'user': 'guest', 'name': 'max-channels', 'value': 2}])
        self.tell('limit', 'clear', 'max-connections')
        self.tell('limit', 'set', 'max-channels', '-1', '--user', 'guest')
        self.connect().channel()
        self.connect().channel().queue_delete('a')

    def test_the_default_queue_type_is_that_of_queues_declared_without_one(self):
        self.tell('vhost', 'set-queue-type', 'quorum')
        channel = self.connect().channel()
        channel.queue_declare('q', durable=True)
        channel.queue_declare('q', durable=True, arguments={'x-queue-type': 'quorum'})
        channel.queue_declare('q', durable=True)
        channel.queue_declare('transient')
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker) as closed:
            channel.queue_declare('q', durable=True, arguments={'x-queue-type': 'classic'})
        self.assertEqual(closed.exception.args[0], 406)

    def test_parameters_are_kept(self):
        self.tell('parameter', 'set', 'name', '"here"')
        self.tell('parameter', 'set', 'mover', '{"src-queue":"a"}', '--component', 'shovel')
        self.broker.restart()
        self.assertEqual(self.tell('parameter', 'list'),
                         [{'name': 'name', 'value': 'here'},
                          {'vhost': '/', 'component': 'shovel', 'name': 'mover', 'value': {'src-queue': 'a'}}])
        self.tell('parameter', 'clear', 'name')
        self.assertEqual([row['name'] for row in self.tell('parameter', 'list')], ['mover'])


if __name__ == '__main__':
    harness.main()
