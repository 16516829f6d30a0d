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

    def drain(self, channel, queue):
        bodies = []
        while (body := self.arrived(channel, queue)) is not None:
            bodies.append(body)
        return bodies

    def count(self, channel, queue):
        return channel.queue_declare(queue, passive=True).method.message_count

    def await_count(self, channel, queue, count):
        harness.eventually(lambda: self.count(channel, queue) == count,
                           f'{count} messages in {queue}, there are {self.count(channel, queue)}')

    def work_queues(self, channel, arguments=None):
        """Some on every shard."""
        names = [f'work.{number}' for number in range(6)]
        for name in names:
            channel.queue_declare(name, durable=True, arguments=arguments)
        return names

    def fill(self, channel, queue, *numbers):
        for number in numbers:
            channel.basic_publish('', queue, str(number).encode(), pika.BasicProperties(delivery_mode=2))

    def test_max_length_by_policy_shortens_what_is_there(self):
        channel = self.connect().channel()
        queues = self.work_queues(channel)
        for queue in queues:
            self.fill(channel, queue, *range(10))
            self.await_count(channel, queue, 10)
        self.tell('policy', 'set', 'short', '^work', '{"max-length":4}', '--apply-to', 'queues')
        for queue in queues:
            self.await_count(channel, queue, 4)
        self.tell('policy', 'set', 'short', '^work', '{"max-length":2}')
        for queue in queues[:3]:
            self.await_count(channel, queue, 2)
            self.fill(channel, queue, 'x')
            self.assertEqual(self.drain(channel, queue), [b'9', b'x'])

        self.broker.restart()
        channel = self.connect().channel()
        for queue in queues[3:]:
            self.fill(channel, queue, 'x', 'y')
            self.await_count(channel, queue, 2)
        self.tell('policy', 'clear', 'short')
        for queue in queues[3:]:
            self.fill(channel, queue, 'z')
            self.assertEqual(self.drain(channel, queue), [b'x', b'y', b'z'])

    def test_overflow_by_policy_refuses_and_octets_count(self):
        channel = self.connect().channel()
        channel.confirm_delivery()
        queues = self.work_queues(channel)
        self.tell('policy', 'set', 'full', '^work', '{"max-length-bytes":5,"overflow":"reject-publish"}')
        for queue in queues:
            channel.basic_publish('', queue, b'12345')
            with self.assertRaises(pika.exceptions.NackError):
                channel.basic_publish('', queue, b'6')
        self.tell('policy', 'set', 'full', '^work', '{"max-length-bytes":6,"overflow":"reject-publish"}')
        for queue in queues:
            channel.basic_publish('', queue, b'6')
        self.tell('policy', 'clear', 'full')
        for queue in queues:
            channel.basic_publish('', queue, b'78')
            self.assertEqual(self.drain(channel, queue), [b'12345', b'6', b'78'])

    def test_message_ttl_by_policy_holds_for_messages_that_come(self):
        channel = self.connect().channel()
        queues = self.work_queues(channel)
        for queue in queues:
            self.fill(channel, queue, 'before')
        self.tell('policy', 'set', 'brief', '^work', '{"message-ttl":50}')
        for queue in queues:
            self.fill(channel, queue, 'during')
            self.await_count(channel, queue, 1)
        self.tell('policy', 'clear', 'brief')
        for queue in queues:
            self.fill(channel, queue, 'after')
        channel.queue_declare('clock')
        channel.confirm_delivery()
        channel.basic_publish('', 'clock', b'x', pika.BasicProperties(expiration='200'), mandatory=True)
        self.await_count(channel, 'clock', 0)  # a TTL that still held would have ended the others before
        for queue in queues:
            self.assertEqual(self.drain(channel, queue), [b'before', b'after'])

    def test_dead_letters_by_policy_go_where_it_says_now(self):
        channel = self.connect().channel()
        queues = self.work_queues(channel)
        channel.exchange_declare('dlx', 'direct', durable=True)
        for dead in ('first', 'second'):
            channel.queue_declare(dead, durable=True)
            channel.queue_bind(dead, 'dlx', dead)

        def reject_one(queue):
            self.fill(channel, queue, queue)
            method, _, _ = harness.eventually(lambda: [got for got in [channel.basic_get(queue)] if got[0]], 'a message')[0]
            channel.basic_reject(method.delivery_tag, requeue=False)

        for key in ('first', 'second'):
            self.tell('policy', 'set', 'dead', '^work', json.dumps({'dead-letter-exchange': 'dlx',
                                                                    'dead-letter-routing-key': key}))
            for queue in queues:
                reject_one(queue)
            self.await_count(channel, key, len(queues))
            self.assertEqual(sorted(self.drain(channel, key)), sorted(queue.encode() for queue in queues))
        self.tell('policy', 'clear', 'dead')
        for queue in queues:
            reject_one(queue)
            self.await_count(channel, queue, 0)
        self.assertEqual((self.count(channel, 'first'), self.count(channel, 'second')), (0, 0))

    def test_what_a_new_limit_drops_is_dead_lettered(self):
        channel = self.connect().channel()
        queues = self.work_queues(channel, {'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead'})
        channel.queue_declare('dead', durable=True)
        for queue in queues:
            self.fill(channel, queue, *range(5))
            self.await_count(channel, queue, 5)
        self.tell('policy', 'set', 'short', '^work', '{"max-length":2}')
        self.await_count(channel, 'dead', 3 * len(queues))
        self.assertEqual(sorted(self.drain(channel, 'dead')), sorted([b'0', b'1', b'2'] * len(queues)))
        for queue in queues:
            self.assertEqual(self.drain(channel, queue), [b'3', b'4'])

    def test_an_operator_policy_bounds_arguments_and_policies(self):
        channel = self.connect().channel()
        queues = self.work_queues(channel, {'x-max-length': 6})
        self.tell('policy', 'set', 'short', '^work', '{"max-length":5}')
        self.tell('operator-policy', 'set', 'bound', '.*', '{"max-length":3}', '--apply-to', 'queues')
        for queue in queues:
            self.fill(channel, queue, *range(8))
            self.await_count(channel, queue, 3)
        self.tell('operator-policy', 'set', 'bound', '.*', '{"max-length":30}')
        for queue in queues:
            self.fill(channel, queue, *range(8))
            self.await_count(channel, queue, 5)
        self.tell('operator-policy', 'clear', 'bound')
        self.tell('policy', 'clear', 'short')
        for queue in queues:
            self.fill(channel, queue, *range(8))
            self.await_count(channel, queue, 6)

        self.tell('operator-policy', 'set', 'brief', '^work', '{"message-ttl":50}')
        for queue in queues:
            channel.queue_purge(queue)
            channel.basic_publish('', queue, b'x', pika.BasicProperties(expiration='3600000'))
            self.await_count(channel, queue, 0)
        self.assertIn('dead-letter-exchange', self.refused('operator-policy', 'set', 'p', 'q', '{"dead-letter-exchange":"x"}'))

    def test_the_policy_of_the_highest_priority_holds_alone(self):
        channel = self.connect().channel()
        queues = self.work_queues(channel)
        self.tell('policy', 'set', 'low', '^work', '{"max-length":3,"message-ttl":1}', '--priority', '1')
        self.tell('policy', 'set', 'high', '^work', '{"max-length":5}', '--priority', '2')
        for queue in queues:
            self.fill(channel, queue, *range(8))
            self.await_count(channel, queue, 5)
        self.tell('policy', 'clear', 'high')
        for queue in queues:
            self.await_count(channel, queue, 3)
            self.fill(channel, queue, 'x')  # with a TTL, but behind a limit of three that have none
            harness.eventually(lambda queue=queue: self.count(channel, queue) == 2, 'the last one to expire')

    def test_expires_by_policy_deletes_a_queue_that_nobody_uses(self):
        channel = self.connect().channel()
        queues = self.work_queues(channel)
        channel.basic_consume(queues[0], lambda *_: None)
        self.tell('policy', 'set', 'unused', '^work', '{"expires":100}')

        def is_there(queue):
            probe = self.connect().channel()
            try:
                probe.basic_get(queue)  # not declare: that is a use
                return True
            except pika.exceptions.ChannelClosedByBroker as closed:
                self.assertEqual(closed.args[0], 404)
                return False
        harness.eventually(lambda: not any(is_there(queue) for queue in queues[1:]), 'unused queues to go', every=0.3)
        self.assertTrue(is_there(queues[0]))

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
